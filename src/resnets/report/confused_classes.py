"""The most confused pairs of classes, and the classes with the lowest recall, of a confusion matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class ConfusedPair(NamedTuple):
    """`num_images` of the `total` images of the class `true` were predicted as the class `predicted`."""

    true: int
    predicted: int
    num_images: int
    total: int


class ClassRecall(NamedTuple):
    """`num_correct` of the `total` images of the class `true` were recognized."""

    true: int
    num_correct: int
    total: int


def most_confused_pairs(matrix: np.ndarray | csr_array, limit: int) -> list[ConfusedPair]:
    """The pairs most often confused, by count, then by fraction of the true class.

    Args:
        matrix: whole numbers (K, K), dense or sparse, row = true class, column = predicted class.
        limit: maximum length of the list.
    """
    matrix = csr_array(matrix)
    totals, cells = matrix.sum(axis=1), matrix.tocoo()
    true, predicted = cells.coords
    wrong = (true != predicted) & (cells.data > 0)
    true, predicted, counts = true[wrong], predicted[wrong], cells.data[wrong]
    order = np.lexsort((predicted, true, totals[true], -counts))[:limit]
    return [ConfusedPair(int(true[k]), int(predicted[k]), int(counts[k]), int(totals[true[k]])) for k in order]


def lowest_recall(matrix: np.ndarray | csr_array, limit: int) -> list[ClassRecall]:
    """The classes with the lowest recall; classes without a mistake are left out."""
    matrix = csr_array(matrix)
    totals, correct = matrix.sum(axis=1), matrix.diagonal()
    rows = [ClassRecall(int(k), int(correct[k]), int(totals[k])) for k in np.flatnonzero(totals > correct)]
    return sorted(rows, key=lambda row: (row.num_correct / row.total, -row.total, row.true))[:limit]
