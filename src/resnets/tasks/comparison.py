"""Paired comparison of two models on the same images: by a score of each image, with a bootstrap interval."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

NUM_RESAMPLES = 2000
LEVEL = 0.95


class Exposure(NamedTuple):
    """How many of the images of a comparison were used to train or to select a model."""

    trained_on: int | None = 0  # number of images it was trained on; None where that is not known
    selected_on: int = 0  # number of images used to select its epoch, or to fit it

    @property
    def num_seen(self) -> int:
        """The number of images that are known to have been used, for training or for selection."""
        return (self.trained_on or 0) + self.selected_on

    def in_words(self, name: str) -> str:
        """`A was trained on 20 of these images, and 5 were used to select its epoch`."""
        if self.trained_on is None:
            trained = f"whether {name} was trained on some of these images is not known"
        else:
            trained = f"{name} was trained on {self.trained_on or 'none'} of these images"
        return f"{trained}, and {self.selected_on} were used to select its epoch" if self.selected_on else trained


NOT_SEEN = Exposure()


class Comparison(Protocol):
    """Which of two models is better, and whether that may be chance."""

    @property
    def better(self) -> str | None:
        """ "a", "b", or None where no difference was shown."""

    def to_dict(self) -> dict[str, Any]:
        """The comparison for JSON."""

    def in_words(self, a: str = "A", b: str = "B") -> str:
        """The comparison in a sentence."""


@dataclass(frozen=True)
class ScoreComparison:
    """The metric of b minus that of a, such as the mean of a score, with its 95 % bootstrap interval over clusters of images;
    without one, `note` says why.
    """

    difference: float
    interval: tuple[float, float] | None
    count: int
    exposure_a: Exposure = NOT_SEEN
    exposure_b: Exposure = NOT_SEEN
    metric: str = "mean score"
    note: str = ""

    @property
    def in_sample(self) -> bool:
        """Whether some of the images are known to have been used to train or to select one of the models."""
        return self.exposure_a.num_seen + self.exposure_b.num_seen > 0

    @property
    def better(self) -> str | None:
        """ "a" or "b"; None where the interval holds 0 or is missing, or where images that a model has seen may explain the
        difference.
        """
        if self.in_sample or self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return "b" if self.difference > 0 else "a"

    def to_dict(self) -> dict[str, Any]:
        """The comparison for JSON, with a sentence under `statement`."""
        exposures = {"exposure_a": self.exposure_a._asdict(), "exposure_b": self.exposure_b._asdict()}
        interval = None if self.interval is None else list(self.interval)
        values = {**asdict(self), **exposures, "interval": interval, "better": self.better}
        return {**values, "in_sample": self.in_sample, "statement": self.in_words("a", "b")}

    def in_words(self, a: str = "A", b: str = "B") -> str:
        """`B is better than A: mean score 0.02 higher [0.01, 0.03] on 200 images.`"""
        ends = self.interval and f" [{self.interval[0]:.4g}, {self.interval[1]:.4g}]"
        text = f"{self.metric} of {b} minus that of {a} {self.difference:+.4g}{ends or ''} on {self.count} images"
        text += f" ({self.note})" if self.note else ""
        if self.exposure_a.selected_on == self.exposure_b.selected_on == self.count:
            return (
                f"{text}. Each of these images was used to select the epochs of both {a} and {b}: which is better on new "
                "images is shown by images that neither has seen."
            )
        if self.in_sample:
            seen = f"{self.exposure_a.in_words(a)}; {self.exposure_b.in_words(b)}"
            return f"This does not show which is better: {text}, of which some were seen before: {seen}."
        if self.better is None:
            return f"No difference between {a} and {b} was shown: {text}."
        more, less = (b, a) if self.better == "b" else (a, b)
        return f"{more} is better than {less}: {text}."


def compare_scores(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray, exposure_a: Exposure = NOT_SEEN, exposure_b: Exposure = NOT_SEEN
) -> ScoreComparison:
    """Compare the scores (N,) of two models for the same images, greater is better.

    Args:
        clusters: int64 (N,), the same number for images that are drawn together, such as copies.
    """
    gaps = b - a
    _, members = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(members, gaps), np.bincount(members)
    draws = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), NUM_RESAMPLES)
    means = draws @ sums / (draws @ sizes)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return ScoreComparison(float(gaps.mean()), (float(low), float(high)), len(gaps), exposure_a, exposure_b)
