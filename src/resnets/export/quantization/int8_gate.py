"""The gate of an int8 model: how much accuracy it loses, proved on images, and how much faster it is."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from resnets.errors import UserError
from resnets.inference.exported.int8_files import PASSED
from resnets.message_format import pluralize
from resnets.tasks.classification.confidence_intervals import paired_score
from resnets.tasks.classification.prediction_set import Predictions

MAX_CLASS_DROP = 5.0  # points of its recall; a class that loses more is named
MOST_IMAGES = 10**9  # beyond which the number of further images is not searched


@dataclass(frozen=True)
class ClassLoss:
    """A class that loses recall: its images, and how many of them each model has right."""

    name: str
    count: int
    before: int
    after: int

    def __str__(self) -> str:
        points = 100 * (self.before - self.after) / self.count
        return (
            f"'{self.name}' loses {points:.1f} points ({self.before} of {self.count} right before, {self.after} after)"
        )


@dataclass(frozen=True)
class AccuracyLoss:
    """What the int8 model loses against the model in fp32, image by image.

    Attributes:
        both, only_fp32, only_int8, neither: numbers of images by which of the models are right.
        same_fraction: that of images with the same label.
        largest_probability_change: of a probability.
        classes: those that lose more than `MAX_CLASS_DROP` points.
    """

    both: int
    only_fp32: int
    only_int8: int
    neither: int
    same_fraction: float = 1.0
    largest_probability_change: float = 0.0
    classes: tuple[ClassLoss, ...] = ()

    @property
    def count(self) -> int:
        """The number of images."""
        return self.both + self.only_fp32 + self.only_int8 + self.neither

    @property
    def points(self) -> float:
        """Accuracy in fp32 minus accuracy in int8, in percentage points."""
        return 100 * (self.only_fp32 - self.only_int8) / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of `points` (`confidence_intervals.paired_score`)."""
        low, high = paired_score(self.only_int8, self.only_fp32, self.count)
        return 100 * float(low), 100 * float(high)

    def images_needed(self, max_drop: float) -> int | None:
        """How many more images would prove a loss of at most `max_drop` points if they differ as these do; None: none would.

        Where these images happen to show no loss at all, further ones may show one, and then more are needed.
        """
        if self.points >= max_drop:
            return None
        low, high = self.count, MOST_IMAGES
        while low < high:
            middle = (low + high) // 2
            factor = middle / self.count
            proved = 100 * paired_score(self.only_int8 * factor, self.only_fp32 * factor, middle)[1] <= max_drop
            low, high = (low, middle) if proved else (middle + 1, high)
        return low - self.count

    def in_words(self) -> str:
        """`loses 0.12 points [-0.05, 0.31] on 10,000 images`."""
        low, high = self.interval
        return f"loses {self.points:.2f} points [{low:.2f}, {high:.2f}] on {pluralize(self.count, 'image')}"

    def to_dict(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("both", "only_fp32", "only_int8", "neither", "count")}
        classes = [asdict(each) for each in self.classes]
        values = {"points": self.points, "interval": list(self.interval), "same_fraction": self.same_fraction}
        return {**counts, **values, "largest_probability_change": self.largest_probability_change, "classes": classes}


@dataclass(frozen=True)
class Gain:
    """How much faster the int8 model is than `backend`, which would compute otherwise; both were measured in turn.

    Attributes:
        ratios: of the times in each round.
    """

    backend: str
    batch: int
    ratios: tuple[float, ...]

    @property
    def speedup(self) -> float:
        """The median of the ratios, each of which is of times that follow each other: what slows a round down slows both."""
        return float(np.median(self.ratios))

    @property
    def lower_quartile(self) -> float:
        return float(np.quantile(self.ratios, 0.25))

    def in_words(self) -> str:
        """`is 2.31 times [2.20, 2.40] as fast as openvino fp32`."""
        spread = f"[{min(self.ratios):.2f}, {max(self.ratios):.2f}]"
        return f"is {self.speedup:.2f} times {spread} as fast as {self.backend} in batches of {self.batch}"

    def to_dict(self) -> dict[str, Any]:
        values = {"backend": self.backend, "batch": self.batch, "speedup": self.speedup}
        return {**values, "spread": [min(self.ratios), max(self.ratios)], "rounds": len(self.ratios)}


REFUSED, NOT_PROVED = "refused", "not proved"


class Verdict(NamedTuple):
    """`PASSED`, `REFUSED` or `NOT_PROVED`, and why, in one line with the number and its limit."""

    name: str
    reason: str

    @property
    def passed(self) -> bool:
        return self.name == PASSED


def measure_loss(before: Predictions, after: Predictions) -> AccuracyLoss:
    """Compare the predictions of the model in fp32 and in int8 for the same images.

    Raises:
        UserError: no image has a label.
    """
    before, after = before.with_labels(), after.with_labels()
    assert before.paths == after.paths
    assert before.class_names == after.class_names
    if not len(before):
        raise UserError("The loss of accuracy can only be measured on labeled images; there are none.")
    fp32, int8 = before.correct, after.correct
    same = float(np.mean(before.predicted == after.predicted))
    probability = float(np.abs(before.probabilities - after.probabilities).max())
    return AccuracyLoss(
        both=int((fp32 & int8).sum()),
        only_fp32=int((fp32 & ~int8).sum()),
        only_int8=int((~fp32 & int8).sum()),
        neither=int((~fp32 & ~int8).sum()),
        same_fraction=same,
        largest_probability_change=probability,
        classes=_class_losses(before, fp32, int8),
    )


def _class_losses(labeled: Predictions, fp32: np.ndarray, int8: np.ndarray) -> tuple[ClassLoss, ...]:
    number = len(labeled.class_names)
    counts, before, after = (
        np.bincount(labeled.true[chosen], minlength=number) for chosen in (fp32 | True, fp32, int8)
    )
    lost = 100 * (before - after) > MAX_CLASS_DROP * counts
    return tuple(
        ClassLoss(labeled.class_names[index], int(counts[index]), int(before[index]), int(after[index]))
        for index in np.flatnonzero(lost)
    )


def judge(loss: AccuracyLoss, gain: Gain, *, max_drop: float, min_gain: float) -> Verdict:
    """Whether an int8 model may be used: the upper end of the interval of its loss, and its speed, within their limits."""
    accuracy = judge_loss(loss, max_drop)
    if not accuracy.passed:
        return accuracy
    if gain.speedup < min_gain:
        return Verdict(REFUSED, f"it {gain.in_words()}; needed is {min_gain:g} (`min_gain`)")
    if gain.lower_quartile < min_gain:
        return Verdict(
            NOT_PROVED,
            f"it {gain.in_words()}; needed is {min_gain:g} (`min_gain`), and a quarter of the rounds is below: the machine "
            "is busy, run it again",
        )
    return Verdict(PASSED, f"{accuracy.reason}; it {gain.in_words()}")


def judge_loss(loss: AccuracyLoss, max_drop: float) -> Verdict:
    """Whether the loss was proved to be at most `max_drop` points."""
    text = f"it {loss.in_words()}"
    if loss.interval[1] <= max_drop:
        return Verdict(PASSED, f"{text}; allowed are {max_drop:g}")
    limit = f"the upper end may be {max_drop:g} (`max_drop`)"
    more = loss.images_needed(max_drop)
    if more is None:
        return Verdict(REFUSED, f"{text}; {limit}")
    return Verdict(NOT_PROVED, f"{text}; {limit}: about {more:,} more images are needed to prove it")


def check_limits(max_drop: float, min_gain: float) -> None:
    """Raise UserError for limits that decide nothing."""
    if not 0 < max_drop <= 100:
        raise UserError(f"`max_drop` is a number of points above 0 and at most 100; received {max_drop:g}.")
    if not 0 < min_gain < float("inf"):
        raise UserError(f"`min_gain` is a ratio above 0, such as 1.2; received {min_gain:g}.")
