"""The rule by which the best epoch is selected, in a run, for each fold of its cross-fitting, and in the report."""

from __future__ import annotations

import math

Score = tuple[float, float]  # (accuracy, -loss): greater is better, compared in this order

WORST_SCORE: Score = (-1.0, -math.inf)  # before the first epoch


def score(accuracy: float, loss: float) -> Score:
    """Return the score of an epoch: its accuracy; the smaller mean cross-entropy decides between equal accuracies."""
    return accuracy, -loss


def is_better(new: Score, best: Score) -> bool:
    """Whether `new` beats `best`; of epochs with equal scores the first one stays the best."""
    return new > best
