"""Calibration: the expected calibration error, its interval, and temperature scaling (Guo et al., 2017)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import Chebyshev

from resnets.tasks.classification.per_image_results import CHUNK

BINS = 15  # as in the paper
NUM_RESAMPLES = 2000
MAX_DRAWN = 2000  # images of which each is drawn in each resample
MAX_TEMPERATURE = 20.0  # temperatures are searched between 1 / 20 and 20
# Log-temperatures of the folds around that of all images, and nodes of the interpolation, whose error is below 1e-9.
NEAR, NODES = 0.15, 9


class Bin(NamedTuple):
    """Predictions with a confidence in (low, high]: their number, mean confidence and accuracy, NaN if there are none."""

    low: float
    high: float
    num_images: int
    confidence: float
    accuracy: float


def bins(confidence: np.ndarray, correct: np.ndarray) -> list[Bin]:
    """Divide predictions into 15 bins of equal width.

    Args:
        confidence: (N,) probabilities of the predicted classes, 0 to 1.
        correct: (N,) whether they are the true ones.
    """
    edges = np.linspace(0, 1, BINS + 1)
    indices = _bin_indices(confidence)
    table = []
    for index in range(BINS):
        inside = indices == index
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(correct[inside].mean())) if count else (np.nan, np.nan)
        table.append(Bin(float(edges[index]), float(edges[index + 1]), count, *means))
    return table


def _bin_indices(confidence: np.ndarray) -> np.ndarray:
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def expected_error(table: Sequence[Bin]) -> float:
    """The expected calibration error (ECE), 0 to 1; NaN without predictions.

    The distance between confidence and accuracy of each bin, weighted by its fraction of the predictions.
    """
    total = sum(row.num_images for row in table)
    gaps = (row.num_images * abs(row.accuracy - row.confidence) for row in table if row.num_images)
    return sum(gaps) / total if total else float("nan")


def error_interval(confidence: np.ndarray, correct: np.ndarray) -> tuple[float, float]:
    """An interval that contains the true expected calibration error in at least 95 of 100 cases; (0, 1) without predictions.

    A calibration error measured on few images is too large, since chance in each bin adds to it and never subtracts;
    resampled images have that chance twice. So the plain bootstrap interval is far above the true error, and never contains it
    for a perfectly calibrated model. Here the upper end is that of the plain bootstrap, which is conservative. The lower end
    is the measured error minus what chance alone adds (the 97.5th percentile of the error of the resampled gaps around
    the measured ones): by the triangle inequality no smaller true error is likely. The interval is conservative by design;
    its coverage in this form was not measured.

    Args:
        confidence: (N,) probabilities of the predicted classes, 0 to 1.
        correct: (N,) whether they are the true ones.
    """
    count = len(confidence)
    if not count:
        return 0.0, 1.0
    indices, gap = _bin_indices(confidence), confidence - correct
    sums = np.bincount(indices, gap, BINS)
    # The sums over resampled images, without resampling: normal with the covariance of the resampled gaps.
    covariance = np.diag(np.bincount(indices, gap**2, BINS)) - np.outer(sums, sums) / count
    random = np.random.default_rng(0)
    chance = random.multivariate_normal(np.zeros(BINS), covariance, NUM_RESAMPLES, check_valid="ignore")
    noise, resampled = (np.abs(gaps).sum(axis=1) / count for gaps in (chance, chance + sums))
    low = float(np.abs(sums).sum() / count - np.quantile(noise, 0.975))
    return max(low, 0.0), min(float(np.quantile(resampled, 0.975)), 1.0)


def error_by_chance(confidence: np.ndarray) -> float:
    """The expected calibration error that a perfectly calibrated model with these confidences exceeds in 5 of 100 cases.

    An error up to this one does not show that a model is badly calibrated. NaN without predictions.

    Args:
        confidence: (N,) probabilities of the predicted classes, 0 to 1.
    """
    count, random = len(confidence), np.random.default_rng(0)
    if not count:
        return float("nan")
    indices = _bin_indices(confidence)
    if count <= MAX_DRAWN:
        gaps = confidence - (random.random((NUM_RESAMPLES, count)) < confidence)
        sums = gaps @ (indices[:, None] == np.arange(BINS)).astype(np.float64)
    else:  # by the central limit theorem
        deviations = np.sqrt(np.bincount(indices, confidence * (1 - confidence), BINS))
        sums = random.normal(0, 1, (NUM_RESAMPLES, BINS)) * deviations
    return float(np.quantile(np.abs(sums).sum(axis=1) / count, 0.95))


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """The temperature by which the logits are divided for the smallest cross-entropy.

    It changes no prediction, only its confidence. It is 1.0 where no better one exists: without labels, with one class, or
    when every prediction is right (or as good as chance), so that the best temperature would be 0 (or infinite).

    Args:
        logits: float (N, K).
        true: int (N,), -1 where there is no label; such images are ignored.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    labeled = np.flatnonzero(true >= 0)
    if not len(labeled) or logits.shape[1] < 2:
        return 1.0
    true_logits = logits[labeled, true[labeled]].astype(np.float64).sum()
    step = max(1, CHUNK // logits.shape[1])
    chunks = torch.from_numpy(logits).split(step)
    weights = torch.from_numpy((true >= 0).astype(np.float64)).split(step)

    def loss(log_temperature: float) -> float:
        factor = np.exp(-log_temperature)
        pairs = zip(chunks, weights, strict=True)
        sums = (float((rows.double() * factor).logsumexp(1) @ weight) for rows, weight in pairs)
        return (sum(sums) - factor * true_logits) / len(labeled)

    limit = float(np.log(MAX_TEMPERATURE))
    minimum = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    at_the_edge = abs(minimum.x) > limit - 1e-3
    return 1.0 if at_the_edge or minimum.fun >= loss(0.0) else float(np.exp(minimum.x))


def fit_temperatures(logits: np.ndarray, true: np.ndarray, folds: np.ndarray, num_folds: int) -> list[float]:
    """For each of `num_folds` folds, the temperature that `fit_temperature` finds for the images of all other folds, within 1e-6.

    All folds use the same passes over the logits, which take most of the time: about ten for a first estimate, and `NODES`
    between which the loss of each fold is interpolated. A fold whose temperature is not near the others' is fitted alone.

    Args:
        logits: float (N, K).
        true: int (N,), without -1.
        folds: int (N,), 0 to num_folds - 1; at least two of them occur.
    """
    from scipy.optimize import minimize_scalar  # slow to import

    counts = len(true) - np.bincount(folds, minlength=num_folds)
    true_logits = logits[np.arange(len(true)), true].astype(np.float64)
    chunks = torch.from_numpy(logits).split(max(1, CHUNK // logits.shape[1]))

    def losses(log_temperature: float) -> np.ndarray:
        factor = float(np.exp(-log_temperature))
        per_image = torch.cat([(rows.double() * factor).logsumexp(1) for rows in chunks]).numpy() - factor * true_logits
        sums = np.bincount(folds, per_image, num_folds)
        return (sums.sum() - sums) / counts

    limit = float(np.log(MAX_TEMPERATURE))
    search: dict[str, Any] = {"bounds": (-limit, limit), "method": "bounded", "options": {"xatol": 1e-2}}
    middle = minimize_scalar(lambda at: losses(at).mean(), **search).x
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    values = np.stack([losses(middle + NEAR * node) for node in nodes])
    fitted = []
    for fold in range(num_folds):
        roots = Chebyshev.fit(nodes, values[:, fold], NODES - 1, domain=(-1, 1)).deriv().roots()
        inside = roots.real[(np.abs(roots.imag) < 1e-9) & (np.abs(roots.real) < 0.9)]
        if len(inside) == 1 and abs(middle) + NEAR < limit:
            fitted.append(float(np.exp(middle + NEAR * inside[0])))
        else:
            fitted.append(fit_temperature(logits, np.where(folds == fold, -1, true)))
    return fitted
