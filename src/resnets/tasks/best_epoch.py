"""The rule by which the best epoch is selected: in a run, for each fold of its cross-fitting, and in the report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Score = tuple[float, ...]  # greater is better, compared number by number


class Monitor(NamedTuple):
    """A metric by which epochs are compared, one of those of `Task.validation_metrics`."""

    metric: str
    mode: Literal["max", "min"]


def score(metrics: Mapping[str, float], monitors: Sequence[Monitor]) -> Score:
    """The score of an epoch: its first metric; the second decides between equal ones, and so on. NaN counts as the worst."""
    values = (metrics[name] if mode == "max" else -metrics[name] for name, mode in monitors)
    return tuple(-math.inf if math.isnan(value) else value for value in values)


def is_better(new: Score, best: Score | None) -> bool:
    """Whether an epoch with the score `new` beats the best one so far; of epochs with equal scores the first stays the best."""
    return best is None or new > best


def best_row(rows: Sequence[Mapping[str, Any]], monitors: Sequence[Monitor]) -> Mapping[str, Any] | None:
    """The row of the best epoch among rows of `metrics.jsonl`. A row without the first metric is left out; another unknown metric
    counts as the worst.
    """
    best, best_score = None, None
    for row in rows:
        values = {name: row.get(f"val/{name}") for name, _ in monitors}
        known = {name: value for name, value in values.items() if value is not None and not math.isnan(value)}
        if monitors[0].metric not in known or not math.isfinite(known[monitors[0].metric]):
            continue
        worst = {name: -math.inf if mode == "max" else math.inf for name, mode in monitors}
        new = score(worst | known, monitors)
        if is_better(new, best_score):
            best, best_score = row, new
    return best
