"""The most confused pairs of classes of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Class = TypeVar("Class", int, str)  # its index or its name


class ConfusedPair(NamedTuple, Generic[Class]):
    """`num_images` of the `total` images of the class `true` were predicted as the class `predicted`."""

    true: Class
    predicted: Class
    num_images: int
    total: int


def most_confused_pairs(matrix: csr_array, classes: Sequence[Class], limit: int) -> list[ConfusedPair[Class]]:
    """At most `limit` pairs, by count, then by fraction of the true class.

    Args:
        matrix: sparse whole numbers (K, K), row = true class, column = predicted class.
        classes: the names of the K classes, or their indices.
    """
    cells = matrix.tocoo()
    true, predicted = cells.coords
    totals = matrix.sum(axis=1)[true]
    wrong = np.flatnonzero((true != predicted) & (cells.data > 0))
    order = wrong[np.lexsort((predicted[wrong], true[wrong], totals[wrong], -cells.data[wrong]))][:limit]
    rows = np.stack([true, predicted, cells.data, totals])[:, order].T.tolist()
    return [ConfusedPair(classes[row[0]], classes[row[1]], *row[2:]) for row in rows]
