"""Which epoch's weights are kept as the best: one rule, for a run and for each fold of its cross-fitting."""

from __future__ import annotations

import math

Score = tuple[float, float]  # accuracy, -loss: greater is better, in this order

WORST_SCORE: Score = (-1.0, -math.inf)  # before the first epoch


def score(accuracy: float, loss: float) -> Score:
    """What an epoch is worth: its accuracy; among equal ones the smaller mean cross-entropy decides."""
    return accuracy, -loss


def is_better(now: Score, best: Score) -> bool:
    """Whether an epoch is better than the best one before it; of equal ones the first is kept."""
    return now > best
