"""Which labels are predicted in place of which."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class ConfusedLabels(NamedTuple):
    """In `num_images` of the `total` images with the label `missed`, it was missed and `added` was predicted, which they lack."""

    missed: str
    added: str
    num_images: int
    total: int


def most_confused(
    true: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], limit: int
) -> list[ConfusedLabels]:
    """The pairs that occur most often, by their number, then by the fraction of the images with the missed label.

    Args:
        true, predicted: bool (N, K).
    """
    missed, added = (true & ~predicted), (predicted & ~true)
    both = missed.any(1) & added.any(1)
    counts = missed[both].astype(np.int64).T @ added[both].astype(np.int64)
    rows, columns = np.nonzero(counts)
    totals = true.sum(0)
    order = np.lexsort((columns, rows, totals[rows], -counts[rows, columns]))[:limit]
    return [
        ConfusedLabels(class_names[i], class_names[j], int(counts[i, j]), int(totals[i]))
        for i, j in zip(rows[order], columns[order], strict=True)
    ]
