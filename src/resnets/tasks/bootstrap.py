"""95 % bootstrap intervals of metrics that are not means over the images, such as average precision."""

import hashlib
import math

import numpy as np

from resnets.data.datasets.dataset import Sample

LEVEL = 0.95


def resample(unit: np.ndarray, num_resamples: int) -> np.ndarray:
    """float64 (B, N): how often each image counts in each of B resamples of the units, drawn with a fixed seed.

    Args:
        unit: (N,), the same number for images that are drawn together, such as copies and images of one group.
    """
    _, members = np.unique(unit, return_inverse=True)
    num_units = int(members.max()) + 1
    draws = np.random.default_rng(0).multinomial(num_units, np.full(num_units, 1 / num_units), num_resamples)
    return draws[:, members].astype(np.float64)


def interval(values: np.ndarray, estimate: float | None, widening: float = 1.0) -> list[float] | None:
    """The interval of a fraction; None where all resamples are alike, since nothing is known then of how images vary.

    Args:
        values: float64 (B,), those of the resamples; NaN where there was nothing to measure.
        estimate: that of all images.
        widening: factor of the width.
    """
    values = values[~np.isnan(values)]
    if estimate is None or not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if high - low < 1e-12:
        return None
    low, high = min(low, estimate), max(high, estimate)
    ends = estimate - widening * (estimate - low), estimate + widening * (high - estimate)
    return [float(max(ends[0], 0.0)), float(min(ends[1], 1.0))]


def difference_interval(gaps: np.ndarray) -> tuple[float, float]:
    """The interval of a difference, from those of the resamples (B,), not all of them NaN."""
    low, high = np.quantile(gaps[~np.isnan(gaps)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def cross_fitted_widening(scores: np.ndarray) -> float:
    """The factor of the width of an interval for the dependence between the folds of a cross-fitting.

    As `classification/confidence_intervals.py` has it for an accuracy, by the disagreement of the selected epochs in the score
    of each image.

    Args:
        scores: float64 (F, N), `CrossFitted.scores`.
    """
    rows = np.unique(scores, axis=0)
    pairs = [np.square(rows[one] - rows[other]).mean() for one in range(len(rows)) for other in range(one)]
    disagreement = float(np.mean(pairs)) / 2 if pairs else 0.0
    return math.sqrt(1 / 0.9 + disagreement / max(float(scores.var(axis=1).mean()), 1e-4))


def unit_of(sample: Sample) -> int:
    """A number that copies of an image and images of one group share."""
    name = f"group {sample.group}" if sample.group else sample.sha256 or f"path {sample.path}"
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "little", signed=True)
