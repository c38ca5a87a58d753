"""What a confusion matrix says first."""

from __future__ import annotations

import numpy as np

from resnets.report import mistakes

MATRIX = np.array([[7, 3, 0], [1, 2, 3], [0, 0, 5]])


def test_pairs_by_number_then_by_share():
    pairs = mistakes.confused(MATRIX, most=10)
    # 3 of 6 comes before 3 of 10.
    assert pairs == [(1, 2, 3, 6), (0, 1, 3, 10), (1, 0, 1, 6)]
    assert mistakes.confused(MATRIX, most=1) == pairs[:1]
    assert mistakes.confused(np.eye(3, dtype=int), most=5) == []


def test_classes_least_often_recognized():
    assert mistakes.missed(MATRIX, most=10) == [(1, 2, 6), (0, 7, 10)]
    assert mistakes.missed(np.zeros((2, 2), int), most=10) == []


def test_the_matrix_is_left_alone():
    before = MATRIX.copy()
    mistakes.confused(MATRIX, most=3)
    assert (before == MATRIX).all()
