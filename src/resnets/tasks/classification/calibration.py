"""Whether a probability of 90 % means right in 90 of 100 cases, and how to make it so (Guo et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from scipy.optimize import minimize_scalar

from resnets.errors import UserError
from resnets.tasks.classification.per_image_results import CHUNK
from resnets.tasks.classification.prediction_set import Predictions
from resnets.weights import checkpoint as checkpoints
from resnets.weights import resolve
from resnets.weights.hub import bundled

BINS = 15  # as in the paper
RESAMPLED = 2000
HOTTEST = 20.0  # temperatures are looked for between 1 / 20 and 20
NEAR, NODES = (
    0.15,
    9,
)  # log-temperatures of the folds around that of all images; the interpolation errs by less than 1e-9


class Bin(NamedTuple):
    """Predictions with a confidence in (low, high]: their number and the means of both, NaN if there are none."""

    low: float
    high: float
    number: int
    confidence: float
    accuracy: float


def bins(confidence: np.ndarray, right: np.ndarray) -> list[Bin]:
    """Sort predictions into 15 bins of equal width.

    Args:
        confidence: (N,) probabilities of the predicted classes, 0 to 1.
        right: (N,) whether they are the true ones.
    """
    edges = np.linspace(0, 1, BINS + 1)
    place = _place(confidence)
    table = []
    for index in range(BINS):
        inside = place == index
        number = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if number else (np.nan, np.nan)
        table.append(Bin(float(edges[index]), float(edges[index + 1]), number, *means))
    return table


def _place(confidence: np.ndarray) -> np.ndarray:
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def expected_error(table: Sequence[Bin]) -> float:
    """The expected calibration error (ECE), 0 to 1; NaN without predictions.

    The distance between confidence and accuracy of each bin, weighted by its share of the predictions.
    """
    total = sum(row.number for row in table)
    gaps = (row.number * abs(row.accuracy - row.confidence) for row in table if row.number)
    return sum(gaps) / total if total else float("nan")


def ece(predictions: Predictions) -> float:
    """The expected calibration error of the labeled predictions, in 15 bins of equal width."""
    known = predictions.with_labels()
    return expected_error(bins(known.confidence, known.correct))


def error_interval(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """An interval that holds the true expected calibration error in at least 95 of 100 cases; (0, 1) without predictions.

    A calibration error that is measured on few images is too large, since chance in each bin adds to it and never takes
    away; resampled images have that chance twice. So the plain bootstrap interval is far above the truth: of a model
    that is calibrated perfectly it never holds it. Here the upper end is that of the plain bootstrap, which errs on the
    safe side. The lower end is the measured error less what chance alone makes (the 97.5th percentile of the error of
    the resampled gaps around the measured ones): by the triangle inequality no smaller true error is likely.
    It is conservative by design; its coverage in this form was not measured.

    Args:
        confidence: (N,) probabilities of the predicted classes, 0 to 1.
        right: (N,) whether they are the true ones.
    """
    count = len(confidence)
    if not count:
        return 0.0, 1.0
    place, gap = _place(confidence), confidence - right
    sums = np.bincount(place, gap, BINS)
    # The sums over resampled images, without resampling them: normal with the covariance of what is resampled.
    covariance = np.diag(np.bincount(place, gap**2, BINS)) - np.outer(sums, sums) / count
    chance = np.random.default_rng(0).multivariate_normal(np.zeros(BINS), covariance, RESAMPLED, check_valid="ignore")
    noise, resampled = (np.abs(each).sum(axis=1) / count for each in (chance, chance + sums))
    low = float(np.abs(sums).sum() / count - np.quantile(noise, 0.975))
    return max(low, 0.0), min(float(np.quantile(resampled, 0.975)), 1.0)


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """The number by which to divide the logits so that their cross-entropy is smallest.

    It changes no prediction, only how sure each is. 1.0 when nothing better can be found: without labels, with one
    class, or when every prediction is right (or as good as chance), so that the best temperature would be 0 (or
    infinite).

    Args:
        logits: float (N, K).
        true: int (N,), -1 where there is no label; those do not count.
    """
    known = np.flatnonzero(true >= 0)
    if not len(known) or logits.shape[1] < 2:
        return 1.0
    own = logits[known, true[known]].astype(np.float64).sum()
    step = max(1, CHUNK // logits.shape[1])
    whole, counts = torch.from_numpy(logits).split(step), torch.from_numpy((true >= 0).astype(np.float64)).split(step)

    def loss(log_temperature: float) -> float:
        share = np.exp(-log_temperature)
        sums = (float((rows.double() * share).logsumexp(1) @ count) for rows, count in zip(whole, counts, strict=True))
        return (sum(sums) - share * own) / len(known)

    limit = float(np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    at_the_edge = abs(found.x) > limit - 1e-3
    return 1.0 if at_the_edge or found.fun >= loss(0.0) else float(np.exp(found.x))


def fit_temperatures(logits: np.ndarray, true: np.ndarray, folds: np.ndarray, number: int) -> list[float]:
    """For each of `number` folds, what `fit_temperature` gives for the images of all other folds, to 1e-6.

    All folds share the passes over the logits, which are what takes the time: some ten to come near, and `NODES` between
    which the loss of each fold is interpolated. A fold whose temperature is not near that of the others is fitted alone.

    Args:
        logits: float (N, K).
        true: int (N,), without -1.
        folds: int (N,), 0 to number - 1; at least two of them occur.
    """
    counts = len(true) - np.bincount(folds, minlength=number)
    own = logits[np.arange(len(true)), true].astype(np.float64)
    chunks = torch.from_numpy(logits).split(max(1, CHUNK // logits.shape[1]))

    def losses(log_temperature: float) -> np.ndarray:
        share = float(np.exp(-log_temperature))
        each = torch.cat([(rows.double() * share).logsumexp(1) for rows in chunks]).numpy() - share * own
        sums = np.bincount(folds, each, number)
        return (sums.sum() - sums) / counts

    limit = float(np.log(HOTTEST))
    middle = minimize_scalar(
        lambda at: losses(at).mean(), bounds=(-limit, limit), method="bounded", options={"xatol": 1e-2}
    ).x
    places = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    values = np.stack([losses(middle + NEAR * place) for place in places])
    fitted = []
    for fold in range(number):
        roots = Chebyshev.fit(places, values[:, fold], NODES - 1, domain=(-1, 1)).deriv().roots()
        inside = roots.real[(np.abs(roots.imag) < 1e-9) & (np.abs(roots.real) < 0.9)]
        if len(inside) == 1 and abs(middle) + NEAR < limit:
            fitted.append(float(np.exp(middle + NEAR * inside[0])))
        else:
            fitted.append(fit_temperature(logits, np.where(folds == fold, -1, true)))
    return fitted


def check(path: Path) -> None:
    """Raises UserError for a file that comes with the package, and is not to be changed."""
    if path in map(bundled.place, bundled.names()):
        copy = f"resnets weights convert {path.stem} --to resnets --out NAME{path.suffix}"
        raise UserError(f"'{path.stem}' belongs to the package and is not changed. Calibrate a copy: {copy}")


def calibrate(path: str | Path, predictions: Predictions, protocol: Mapping[str, Any]) -> float:
    """Fit the temperature to `predictions` and store it in the checkpoint that made them.

    Args:
        path: a checkpoint or run folder; the file is replaced.
        predictions: its plain ones (one crop, one scale), on images that it was not trained on.
        protocol: where they come from; kept in the checkpoint's provenance under "calibration".

    Raises:
        UserError: there is no label to fit to, or the file is one of this package.
    """
    count = int(predictions.labeled.sum())
    if not count:
        raise UserError("A temperature is fitted to images with labels; there are none here.")
    path = resolve.locate(path)
    check(path)
    temperature = fit_temperature(predictions.logits, predictions.true)
    found = checkpoints.read(path)
    provenance = {**found.provenance, "calibration": {**protocol, "images": count}}
    checkpoints.save(path, replace(found, temperature=temperature, provenance=provenance))
    return temperature
