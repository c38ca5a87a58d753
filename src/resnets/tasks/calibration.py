"""Whether a probability of 90 % means right in 90 of 100 cases, and how to make it so (Guo et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from resnets.errors import UserError
from resnets.tasks.predictions import Predictions, log_softmax
from resnets.weights import checkpoint as checkpoints
from resnets.weights import shipped

BINS = 15  # as in the paper
HOTTEST = 20.0  # temperatures are looked for between 1 / 20 and 20


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
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    table = []
    for index in range(BINS):
        inside = place == index
        number = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if number else (np.nan, np.nan)
        table.append(Bin(float(edges[index]), float(edges[index + 1]), number, *means))
    return table


def expected_error(table: Sequence[Bin]) -> float:
    """The expected calibration error (ECE), 0 to 1; NaN without predictions.

    The distance between confidence and accuracy of each bin, weighted by its share of the predictions.
    """
    total = sum(row.number for row in table)
    gaps = (row.number * abs(row.accuracy - row.confidence) for row in table if row.number)
    return sum(gaps) / total if total else float("nan")


def ece(predictions: Predictions) -> float:
    """The expected calibration error of the labelled predictions, in 15 bins of equal width."""
    known = predictions.with_labels()
    return expected_error(bins(known.confidence, known.correct))


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """The number by which to divide the logits so that their cross-entropy is smallest.

    It changes no prediction, only how sure each is. 1.0 when nothing better can be found: without labels, with one
    class, or when every prediction is right (or as good as chance), so that the best temperature would be 0 (or
    infinite).

    Args:
        logits: float (N, K).
        true: int (N,), -1 where there is no label; those do not count.
    """
    known = true >= 0
    logits, true = logits[known].astype(np.float64), true[known]
    if not len(true) or logits.shape[1] < 2:
        return 1.0
    rows = np.arange(len(true))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature))[rows, true].mean())

    limit = float(np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    at_the_edge = abs(found.x) > limit - 1e-3
    return 1.0 if at_the_edge or found.fun >= loss(0.0) else float(np.exp(found.x))


def check(path: Path) -> None:
    """Raises UserError for a file that comes with the package, and is not to be changed."""
    if path in map(shipped.place, shipped.names()):
        copy = f"resnets weights convert {path.stem} --to resnets --out NAME{path.suffix}"
        raise UserError(f"'{path.stem}' belongs to the package and is not changed. Calibrate a copy: {copy}")


def calibrate(path: str | Path, predictions: Predictions, protocol: Mapping[str, Any]) -> float:
    """Fit the temperature to `predictions` and store it in the checkpoint that made them.

    Args:
        path: a checkpoint or run folder; the file is replaced.
        predictions: its plain ones (one crop, one scale), on pictures that it was not trained on.
        protocol: where they come from; kept in the checkpoint's provenance under "calibration".

    Raises:
        UserError: there is no label to fit to, or the file is one of this package.
    """
    count = int(predictions.labelled.sum())
    if not count:
        raise UserError("A temperature is fitted to pictures with labels; there are none here.")
    path = checkpoints.locate(path)
    check(path)
    temperature = fit_temperature(predictions.logits, predictions.true)
    found = checkpoints.read(path)
    provenance = {**found.provenance, "calibration": {**protocol, "pictures": count}}
    checkpoints.save(path, replace(found, temperature=temperature, provenance=provenance))
    return temperature
