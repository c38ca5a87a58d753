"""What is left of predictions when their logits are gone: a few numbers for each image, enough for every figure."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from resnets.tasks.classification.prediction_set import Predictions, log_softmax

CHUNK = 4_000_000  # logits that are turned into probabilities at a time, so that the memory stays bounded


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Each is an array (N,), one value for each labeled image.

    true, predicted: int64, the numbers of the classes.
    place: int64, how many classes come before the true one; among equals the one with the smaller number comes first.
    confidence: float64, the probability of the predicted class.
    loss: float64, -log of the probability of the true class.
    brier: float64, 0 to 2: the sum over the classes of (probability - truth)^2, where truth is 1 or 0 (Brier, 1950).
    """

    true: np.ndarray
    predicted: np.ndarray
    place: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray
    brier: np.ndarray

    def __len__(self) -> int:
        return len(self.true)

    @property
    def correct(self) -> np.ndarray:
        """bool (N,)."""
        return self.predicted == self.true


def of(predictions: Predictions) -> Outcomes:
    """The outcomes of the labeled images, in order."""
    known = predictions.with_labels()
    return measured(known.logits, known.true, known.temperature)


def measured(logits: np.ndarray, true: np.ndarray, temperature: float) -> Outcomes:
    """The outcomes of float logits (N, K) for images whose classes are `true`, int64 (N,)."""
    step = max(1, CHUNK // max(logits.shape[1], 1))
    parts = [_measured(logits[at : at + step], true[at : at + step], temperature) for at in range(0, len(true), step)]
    if not parts:
        nothing, whole = np.zeros(0), np.zeros(0, dtype=np.int64)
        return Outcomes(whole, whole, whole, nothing, nothing, nothing)
    return Outcomes(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Outcomes)))


def _measured(logits: np.ndarray, true: np.ndarray, temperature: float) -> Outcomes:
    rows = np.arange(len(true))
    own = logits[rows, true][:, None]
    earlier = np.arange(logits.shape[1]) < true[:, None]
    logs = log_softmax(logits.astype(np.float64) / temperature)
    shares = np.exp(logs)
    predicted = logits.argmax(axis=1)
    return Outcomes(
        true=np.asarray(true, dtype=np.int64),
        predicted=predicted.astype(np.int64),
        place=((logits > own) | ((logits == own) & earlier)).sum(axis=1),
        confidence=shares[rows, predicted],
        loss=-logs[rows, true],
        brier=np.square(shares).sum(axis=1) - 2 * shares[rows, true] + 1,
    )
