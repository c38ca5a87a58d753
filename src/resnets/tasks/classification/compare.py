"""Which of two models is better on the same images, and how sure one can be of that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from resnets.errors import UserError
from resnets.tasks.classification.confidence_intervals import paired_difference
from resnets.tasks.classification.prediction_set import Predictions

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """Top-1 of two models, a and b, image by image.

    `difference` is (top-1 of b) - (top-1 of a), a share of 1, with its 95 % interval (`intervals.paired_difference`). `p` is
    that of McNemar's exact test: how often chance alone would divide the images that only one of them has right as
    unevenly as this. `p` is below 0.05 exactly where the interval does not hold 0. `known_a` and `known_b` count the
    images that a model learned from or that chose its epoch; None: that is not known.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p: float
    known_a: int | None = 0
    known_b: int | None = 0

    @property
    def count(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def better(self) -> str | None:
        """ "a" or "b"; None where no difference was shown, or where the images that the better one alone knew may explain it.

        These images are taken off those that only it has right, as if it had each of them right for that alone. Images of
        which it is not known whether a model knew them are not taken off; `in_words` says so.
        """
        if self.p >= SIGNIFICANCE:
            return None
        known_a, known_b = self.known_a or 0, self.known_b or 0
        favored, won, lost = known_a - known_b, self.only_a, self.only_b
        if self.difference > 0:
            favored, won, lost = -favored, lost, won
        left = won - max(favored, 0)
        if left <= lost or binomtest(left, left + lost).pvalue >= SIGNIFICANCE:
            return None
        return "b" if self.difference > 0 else "a"

    def to_dict(self) -> dict[str, Any]:
        found = {**asdict(self), "count": self.count, "interval": list(self.interval)}
        return {**found, "better": self.better, "statement": self.in_words("a", "b")}

    def in_words(self, a: str = "A", b: str = "B") -> str:
        """`B is better than A by 2.1 points [0.4, 3.8], p = 0.02.`, or that no difference was shown, or why none is named."""
        chance = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}" if self.p < 0.1 else f"p = {self.p:.2f}"
        chance += f" ({self.only_b} images only {b} has right, {self.only_a} only {a}, of {self.count})"
        low, high = (100 * end for end in self.interval)
        if self.better is not None:
            better, worse, sign = (b, a, 1) if self.better == "b" else (a, b, -1)
            ends = sorted((sign * low, sign * high))
            points = f"{100 * abs(self.difference):.1f} points [{_end(ends[0])}, {_end(ends[1])}]"
            return f"{better} is better than {worse} by {points}, {chance}.{self._caution(a, b)}"
        points = f"top-1 of {b} minus top-1 of {a} is {100 * self.difference:+.1f} points [{_end(low)}, {_end(high)}]"
        if self.p >= SIGNIFICANCE:
            return f"No difference between {a} and {b} was shown: {points}, {chance}.{self._caution(a, b)}"
        return f"Neither {a} nor {b} is called better, since these images favor one: {points}, {chance}.{self._caution(a, b)}"

    def _caution(self, a: str, b: str) -> str:
        if self.known_a == 0 and self.known_b == 0:
            return ""
        if self.known_a is not None and self.known_b is not None:
            said = f"{self.known_a} of these images trained {a} or chose its epoch, {self.known_b} did so for {b}"
        else:
            pairs = ((self.known_a, a), (self.known_b, b))
            known = [f"{count} of these images trained {name} or chose its epoch; " for count, name in pairs if count]
            unknown = " or ".join(name for count, name in pairs if count is None)
            said = f"{''.join(known)}whether some of these images trained {unknown} is not known"
        return f" Note: {said}; compare the two on images that are new to both."


def _end(points: float) -> str:
    """One decimal; more where an end that is not 0 would be shown as 0."""
    return next((text for digits in (1, 2, 3) if float(text := f"{points:.{digits}f}") or not points), f"{points:.1g}")


def compare(a: Predictions, b: Predictions, known: tuple[int | None, int | None] = (0, 0)) -> Comparison:
    """Compare two models on the labeled images of one set.

    Args:
        known: how many of the images a and b learned from or were chosen by; None where that is not known.

    Raises:
        UserError: the two were not made on the same images with the same labels, or none has a label.
    """
    a, b = a.with_labels(), b.with_labels()
    if a.paths != b.paths or [a.classes[index] for index in a.true] != [b.classes[index] for index in b.true]:
        raise UserError("Two models are compared on the same images with the same labels; these are different ones.")
    if not len(a):
        raise UserError("Two models are compared on images with labels; there are none here.")
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
        known_a=known[0],
        known_b=known[1],
    )
