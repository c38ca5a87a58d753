"""What is taken for what, in a confusion matrix: the pairs and the classes that a person should look at first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    """A mistake: `number` of the `total` pictures of the class `true` were taken for the class `predicted`."""

    true: int
    predicted: int
    number: int
    total: int


class Missed(NamedTuple):
    """A class of which `right` out of `total` pictures were recognised."""

    true: int
    right: int
    total: int


def confused(matrix: np.ndarray, most: int) -> list[Pair]:
    """The pairs most often confused, by count, then by share of the true class.

    Args:
        matrix: whole numbers (K, K), row = true class, column = predicted class.
        most: length of the list at most.
    """
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    totals = matrix.sum(axis=1)
    true, predicted = np.nonzero(mistakes)
    numbers = mistakes[true, predicted]
    order = np.lexsort((predicted, true, totals[true], -numbers))[:most]
    return [Pair(int(true[k]), int(predicted[k]), int(numbers[k]), int(totals[true[k]])) for k in order]


def missed(matrix: np.ndarray, most: int) -> list[Missed]:
    """The classes with the smallest share of their pictures recognised; those without a mistake are left out."""
    totals = matrix.sum(axis=1)
    rows = [Missed(k, int(matrix[k, k]), int(totals[k])) for k in range(len(matrix)) if totals[k] > matrix[k, k]]
    return sorted(rows, key=lambda row: (row.right / row.total, -row.total, row.true))[:most]
