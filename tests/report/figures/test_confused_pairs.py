"""What a confusion matrix says first."""

from __future__ import annotations

import numpy as np

from resnets.report.figures import confused_pairs

MATRIX = np.array([[7, 3, 0], [1, 2, 3], [0, 0, 5]])


def test_pairs_by_count_then_by_fraction():
    pairs = confused_pairs.confused(MATRIX, limit=10)
    # 3 of 6 comes before 3 of 10.
    assert pairs == [(1, 2, 3, 6), (0, 1, 3, 10), (1, 0, 1, 6)]
    assert confused_pairs.confused(MATRIX, limit=1) == pairs[:1]
    assert confused_pairs.confused(np.eye(3, dtype=int), limit=5) == []


def test_classes_least_often_recognized():
    assert confused_pairs.lowest_recall(MATRIX, limit=10) == [(1, 2, 6), (0, 7, 10)]
    assert confused_pairs.lowest_recall(np.zeros((2, 2), int), limit=10) == []


def test_the_matrix_is_left_alone():
    before = MATRIX.copy()
    confused_pairs.confused(MATRIX, limit=3)
    assert (before == MATRIX).all()
