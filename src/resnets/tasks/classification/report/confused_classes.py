"""The most confused pairs of classes of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class ConfusedPair(NamedTuple):
    """`num_images` of the `total` images of the class `true` were predicted as the class `predicted`."""

    true: str
    predicted: str
    num_images: int
    total: int


def most_confused_pairs(matrix: csr_array, class_names: Sequence[str], limit: int) -> list[ConfusedPair]:
    """The pairs most often confused, by count, then by fraction of the true class.

    Args:
        matrix: sparse whole numbers (K, K), row = true class, column = predicted class.
        class_names: of the K classes.
        limit: maximum length of the list.
    """
    totals, cells = matrix.sum(axis=1), matrix.tocoo()
    true, predicted = cells.coords
    wrong = (true != predicted) & (cells.data > 0)
    true, predicted, counts = true[wrong], predicted[wrong], cells.data[wrong]
    order = np.lexsort((predicted, true, totals[true], -counts))[:limit]
    return [
        ConfusedPair(class_names[true[k]], class_names[predicted[k]], int(counts[k]), int(totals[true[k]]))
        for k in order
    ]
