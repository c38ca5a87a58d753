"""The most confused pairs of a confusion matrix."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from resnets.report.confused_classes import most_confused_pairs

MATRIX = csr_array(np.array([[7, 3, 0], [1, 2, 3], [0, 0, 5]]))


def test_pairs_by_count_then_by_fraction():
    pairs = most_confused_pairs(MATRIX, "abc", limit=10)
    # 3 of 6 comes before 3 of 10.
    assert pairs == [("b", "c", 3, 6), ("a", "b", 3, 10), ("b", "a", 1, 6)]
    assert most_confused_pairs(MATRIX, range(3), limit=1) == [(1, 2, 3, 6)]
    assert most_confused_pairs(csr_array(np.eye(3, dtype=int)), "abc", limit=5) == []
