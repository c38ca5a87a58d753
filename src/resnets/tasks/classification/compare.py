"""Paired comparison of two models on the same images: McNemar's exact test."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resnets.errors import UserError
from resnets.tasks.classification.confidence_intervals import paired_difference
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.comparison import NOT_SEEN, Exposure

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class AccuracyComparison:
    """Top-1 of two models, a and b, image by image.

    Attributes:
        both, only_a, only_b, neither: numbers of images by which of the models are right.
        difference: (top-1 of b) - (top-1 of a), -1 to 1.
        interval: its 95 % interval (`confidence_intervals.paired_difference`).
        p: of McNemar's exact test, the probability that chance alone divides the images that only one model has right as
            unevenly as this. It is below 0.05 exactly where the interval does not hold 0.
        exposure_a, exposure_b: how many of the images were used to train or to select each model.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p: float
    exposure_a: Exposure = NOT_SEEN
    exposure_b: Exposure = NOT_SEEN

    @property
    def count(self) -> int:
        """The number of images."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def better(self) -> str | None:
        """ "a" or "b"; None where no difference was shown, or where images that the better one has seen may explain it.

        These images are subtracted from those that only it has right, as if it had each of them right for that reason alone.
        Images that both have seen are no exception: a model selected among more epochs gains more by them. Images of which it
        is not known whether a model was trained on them are not subtracted; `in_words` says so.
        """
        if self.p >= SIGNIFICANCE:
            return None
        from scipy.stats import binomtest  # takes a second to import

        seen, won, lost = self.exposure_a.num_seen, self.only_a, self.only_b
        if self.difference > 0:
            seen, won, lost = self.exposure_b.num_seen, lost, won
        remaining = won - seen
        if remaining <= lost or binomtest(remaining, remaining + lost).pvalue >= SIGNIFICANCE:
            return None
        return "b" if self.difference > 0 else "a"

    @property
    def in_sample(self) -> bool:
        """Whether some of the images are known to have been used to train or to select one of the models."""
        return self.exposure_a.num_seen + self.exposure_b.num_seen > 0

    def to_dict(self) -> dict[str, Any]:
        """The comparison for JSON, with a sentence under `statement`."""
        values = {**asdict(self), "count": self.count, "interval": list(self.interval)}
        values |= {"exposure_a": self.exposure_a._asdict(), "exposure_b": self.exposure_b._asdict()}
        return {**values, "better": self.better, "in_sample": self.in_sample, "statement": self.in_words("a", "b")}

    def in_words(self, a: str = "A", b: str = "B") -> str:
        """`B is better than A by 2.1 points [0.4, 3.8], p = 0.02.`, or that no difference was shown, or why it shows nothing."""
        chance = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}" if self.p < 0.1 else f"p = {self.p:.2f}"
        chance += f" (only {b} is right on {self.only_b} images and only {a} on {self.only_a}, of {self.count})"
        low, high = (100 * end for end in self.interval)
        if self.p >= SIGNIFICANCE:
            points = f"{100 * self.difference:+.1f} points [{_end(low)}, {_end(high)}]"
            points = f"top-1 of {b} minus top-1 of {a} is {points}"
            return f"No difference between {a} and {b} was shown: {points}, {chance}.{self._caution(a, b)}"
        more, less, sign = (b, a, 1) if self.difference > 0 else (a, b, -1)
        ends = sorted((sign * low, sign * high))
        points = f"{100 * abs(self.difference):.1f} points [{_end(ends[0])}, {_end(ends[1])}]"
        used = "On these images, some of which were used to train or to select one of the models, " * self.in_sample
        if self.better is not None:
            return f"{used}{more} is better than {less} by {points}, {chance}.{self._caution(a, b)}"
        text = f"{used}{more} is right more often than {less}, by {points}, {chance}"
        return f"{text}: this does not show that it is better.{self._caution(a, b)}"

    def _caution(self, a: str, b: str) -> str:
        """How many of the images were used to train or to select each model, and what to do about it; empty if none."""
        if self.exposure_a == self.exposure_b == NOT_SEEN:
            return ""
        seen = f"{self.exposure_a.in_words(a)}; {self.exposure_b.in_words(b)}"
        command = "resnets data split DATA --test-fraction 0.2 --out split.csv"
        return (
            f" Note: {seen}. Compare them on images that were used neither to train nor to select them, such as those of one "
            f"test split ({command}) with which both are trained."
        )


def _end(points: float) -> str:
    """One decimal; more where an end that is not 0 would be shown as 0."""
    return next((text for digits in (1, 2, 3) if float(text := f"{points:.{digits}f}") or not points), f"{points:.1g}")


def compare_predictions(
    a: Predictions, b: Predictions, exposure_a: Exposure = NOT_SEEN, exposure_b: Exposure = NOT_SEEN
) -> AccuracyComparison:
    """Compare two models on the labeled images of one dataset.

    Args:
        a, b: their predictions for the same images.
        exposure_a, exposure_b: how many of the images were used to train or to select each.

    Raises:
        UserError: the images or their labels differ, or no image has a label.
    """
    a, b = a.with_labels(), b.with_labels()
    if a.paths != b.paths or [a.class_names[index] for index in a.true] != [b.class_names[index] for index in b.true]:
        raise UserError("Two models can only be compared on the same images with the same labels; these differ.")
    if not len(a):
        raise UserError("Two models can only be compared on labeled images; there are none.")
    from scipy.stats import binomtest  # takes a second to import

    right_a, right_b = a.correct, b.correct
    both, neither = int((right_a & right_b).sum()), int((~right_a & ~right_b).sum())
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    counts, discordant = (both, only_a, only_b, neither), only_a + only_b
    p = float(binomtest(only_b, discordant).pvalue) if discordant else 1.0
    difference = float(np.mean(right_b)) - float(np.mean(right_a))
    return AccuracyComparison(*counts, difference, paired_difference(*counts), p, exposure_a, exposure_b)
