"""The rule by which the best epoch is selected, in a run, for each fold of its cross-fitting, and in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Score = tuple[float, float]  # (accuracy, -loss): greater is better, compared in this order

WORST_SCORE: Score = (-1.0, -math.inf)  # before the first epoch


def score(accuracy: float, loss: float) -> Score:
    """Return the score of an epoch: its accuracy; the smaller mean cross-entropy decides between equal accuracies."""
    return accuracy, -loss


def is_better(new: Score, best: Score) -> bool:
    """Whether `new` beats `best`; of epochs with equal scores the first one stays the best."""
    return new > best


def best_row(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the best epoch among rows of `metrics.jsonl`; an unknown loss counts as infinite."""
    best, best_score = None, WORST_SCORE
    for row in rows:
        accuracy, loss = row.get("val/accuracy_top1"), row.get("val/loss")
        if accuracy is None or not math.isfinite(accuracy):
            continue
        new = score(accuracy, math.inf if loss is None or math.isnan(loss) else loss)
        if is_better(new, best_score):
            best, best_score = row, new
    return best
