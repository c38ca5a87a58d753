"""Which of two models is better on the same pictures, and how sure one can be of that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from resnets.errors import UserError
from resnets.tasks.intervals import paired_difference
from resnets.tasks.predictions import Predictions

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """Top-1 of two models, a and b, picture by picture.

    `difference` is (top-1 of b) - (top-1 of a), a share of 1, with its 95 % interval (Newcombe's method 10). `p` is
    that of McNemar's exact test: how often chance alone would divide the pictures that only one of them has right as
    unevenly as this.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p: float

    @property
    def count(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "count": self.count, "interval": list(self.interval)}

    def in_words(self, a: str = "A", b: str = "B") -> str:
        """`B is better than A by 2.1 points [0.4, 3.8], p = 0.02.`, or that no difference was shown."""
        chance = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}" if self.p < 0.1 else f"p = {self.p:.2f}"
        counts = f"{self.only_b} pictures only {b} has right, {self.only_a} only {a}, of {self.count}"
        low, high = self.interval
        if self.p < SIGNIFICANCE:
            better, worse, sign = (b, a, 1) if self.difference > 0 else (a, b, -1)
            ends = sorted((100 * sign * low, 100 * sign * high))
            points = f"{100 * abs(self.difference):.1f} points [{ends[0]:.1f}, {ends[1]:.1f}]"
            return f"{better} is better than {worse} by {points}, {chance} ({counts})."
        points = f"{100 * self.difference:+.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
        return f"No difference between {a} and {b} was shown: top-1 of {b} minus top-1 of {a} is {points}, {chance} ({counts})."


def compare(a: Predictions, b: Predictions) -> Comparison:
    """Compare two models on the labelled pictures of one set.

    Raises:
        UserError: the two were not made on the same pictures with the same labels, or none has a label.
    """
    a, b = a.with_labels(), b.with_labels()
    if a.paths != b.paths or [a.classes[index] for index in a.true] != [b.classes[index] for index in b.true]:
        raise UserError("Two models are compared on the same pictures with the same labels; these are different ones.")
    if not len(a):
        raise UserError("Two models are compared on pictures with labels; there are none here.")
    right_a, right_b = a.correct, b.correct
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    discordant = only_a + only_b
    return Comparison(
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=neither,
        difference=float(np.mean(right_b)) - float(np.mean(right_a)),
        interval=paired_difference(both, only_a, only_b, neither),
        p=float(binomtest(only_b, discordant).pvalue) if discordant else 1.0,
    )
