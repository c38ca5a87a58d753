"""What is taken for what, in a confusion matrix: the pairs and the classes that a person should look at first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class Pair(NamedTuple):
    """A mistake: `number` of the `total` images of the class `true` were taken for the class `predicted`."""

    true: int
    predicted: int
    number: int
    total: int


class Missed(NamedTuple):
    """A class of which `right` out of `total` images were recognized."""

    true: int
    right: int
    total: int


def confused(matrix: np.ndarray | csr_array, most: int) -> list[Pair]:
    """The pairs most often confused, by count, then by share of the true class.

    Args:
        matrix: whole numbers (K, K), dense or sparse, row = true class, column = predicted class.
        most: length of the list at most.
    """
    matrix = csr_array(matrix)
    totals, cells = matrix.sum(axis=1), matrix.tocoo()
    true, predicted = cells.coords
    wrong = (true != predicted) & (cells.data > 0)
    true, predicted, numbers = true[wrong], predicted[wrong], cells.data[wrong]
    order = np.lexsort((predicted, true, totals[true], -numbers))[:most]
    return [Pair(int(true[k]), int(predicted[k]), int(numbers[k]), int(totals[true[k]])) for k in order]


def missed(matrix: np.ndarray | csr_array, most: int) -> list[Missed]:
    """The classes with the smallest share of their images recognized; those without a mistake are left out."""
    matrix = csr_array(matrix)
    totals, right = matrix.sum(axis=1), matrix.diagonal()
    rows = [Missed(int(k), int(right[k]), int(totals[k])) for k in np.flatnonzero(totals > right)]
    return sorted(rows, key=lambda row: (row.right / row.total, -row.total, row.true))[:most]
