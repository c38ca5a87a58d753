"""What the rows of `predictions.csv` add up to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from resnets.tasks.classification import metrics

SURE = (0.5, 0.8, 0.9, 0.95, 0.99)


class Said(NamedTuple):
    """One labeled prediction."""

    path: str
    true: str
    predicted: str
    probability: float
    loss: float


class Sure(NamedTuple):
    """Of all images the share with a confidence of at least `least`, and what share of those is right."""

    least: float
    share: float
    right: float


@dataclass(frozen=True)
class Tally:
    """The labeled predictions of a run, and how many were unlabeled."""

    said: list[Said]
    unlabeled: int

    @property
    def total(self) -> int:
        return len(self.said)

    @property
    def right(self) -> int:
        return sum(one.true == one.predicted for one in self.said)

    @property
    def sure(self) -> float:
        """The mean confidence; NaN without predictions."""
        return sum(one.probability for one in self.said) / self.total if self.said else math.nan

    @property
    def commonest(self) -> tuple[str, int] | None:
        """The class with the most images, and how many: what blind guessing would get right."""
        return next(iter(Counter(one.true for one in self.said).most_common(1)), None)

    def matrix(self, order: Sequence[str]) -> tuple[list[str], csr_array]:
        """Class names, first those of `order`, and the sparse confusion matrix over them: row = true, column = predicted."""
        others = {name for one in self.said for name in (one.true, one.predicted)}.difference(order)
        classes = [*order, *sorted(others)]
        place = {name: k for k, name in enumerate(classes)}
        true = np.array([place[one.true] for one in self.said], dtype=np.int64)
        predicted = np.array([place[one.predicted] for one in self.said], dtype=np.int64)
        return classes, metrics.counts(true, predicted, len(classes))

    def worst(self, most: int) -> list[Said]:
        """The predictions with the greatest losses."""
        return sorted(self.said, key=lambda one: -one.loss)[:most]

    def thresholds(self) -> list[Sure]:
        """What is gained by believing only predictions above a confidence."""
        rows = []
        for least in SURE:
            kept = [one for one in self.said if one.probability >= least]
            if kept:
                right = sum(one.true == one.predicted for one in kept) / len(kept)
                rows.append(Sure(least, len(kept) / self.total, right))
        return rows


def count(rows: Sequence[Mapping[str, str]]) -> Tally:
    """Read the rows of a predictions table; a row that is incomplete counts as unlabeled."""
    said, unlabeled = [], 0
    for row in rows:
        try:
            probability, loss = float(row["probability"]), abs(float(row["loss"]))  # -0 is what log(1) leaves
        except (KeyError, ValueError):
            unlabeled += 1
            continue
        said.append(Said(row.get("path", ""), row.get("true", ""), row.get("predicted", ""), probability, loss))
    return Tally(said, unlabeled)
