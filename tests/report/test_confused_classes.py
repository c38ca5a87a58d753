"""The most confused pairs and the lowest recalls of a confusion matrix."""

from __future__ import annotations

import numpy as np

from resnets.report import confused_classes

MATRIX = np.array([[7, 3, 0], [1, 2, 3], [0, 0, 5]])


def test_pairs_by_count_then_by_fraction():
    pairs = confused_classes.most_confused_pairs(MATRIX, limit=10)
    # 3 of 6 comes before 3 of 10.
    assert pairs == [(1, 2, 3, 6), (0, 1, 3, 10), (1, 0, 1, 6)]
    assert confused_classes.most_confused_pairs(MATRIX, limit=1) == pairs[:1]
    assert confused_classes.most_confused_pairs(np.eye(3, dtype=int), limit=5) == []


def test_classes_with_the_lowest_recall():
    assert confused_classes.lowest_recall(MATRIX, limit=10) == [(1, 2, 6), (0, 7, 10)]
    assert confused_classes.lowest_recall(np.zeros((2, 2), int), limit=10) == []


def test_the_matrix_is_not_changed():
    before = MATRIX.copy()
    confused_classes.most_confused_pairs(MATRIX, limit=3)
    assert (before == MATRIX).all()
