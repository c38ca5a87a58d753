"""Results for each image, without its logits: enough for every metric."""

from dataclasses import dataclass, fields

import numpy as np

from resnets.tasks.classification.prediction_set import Predictions, log_softmax

CHUNK = 4_000_000  # logits that are converted to probabilities at a time, to bound the memory


@dataclass(frozen=True, eq=False)
class PerImageResults:
    """Arrays (N,) with one value for each labeled image."""

    true: np.ndarray  # int64, indices of the classes
    predicted: np.ndarray  # int64, indices of the classes
    rank: np.ndarray  # int64, the number of classes before the true one; of equal logits the smaller index comes first
    confidence: np.ndarray  # float64, the probability of the predicted class
    loss: np.ndarray  # float64, -log of the probability of the true class
    # Float64, 0 to 2: the sum over the classes of (probability - truth)^2, where truth is 1 or 0 (Brier, 1950).
    brier: np.ndarray

    def __len__(self) -> int:
        return len(self.true)

    @property
    def correct(self) -> np.ndarray:
        """bool (N,)."""
        return self.predicted == self.true


def from_predictions(predictions: Predictions) -> PerImageResults:
    """The results of the labeled images, in order."""
    labeled = predictions.with_labels()
    return from_logits(labeled.logits, labeled.true, labeled.temperature)


def from_logits(logits: np.ndarray, true: np.ndarray, temperature: float) -> PerImageResults:
    """The results of float logits (N, K) for images of the classes `true`, int64 (N,)."""
    step = max(1, CHUNK // max(logits.shape[1], 1))
    parts = [slice(at, at + step) for at in range(0, len(true), step)]
    chunks = [_from_chunk(logits[part], true[part], temperature) for part in parts]
    if not chunks:
        floats, integers = np.zeros(0), np.zeros(0, dtype=np.int64)
        return PerImageResults(integers, integers, integers, floats, floats, floats)
    names = [field.name for field in fields(PerImageResults)]
    return PerImageResults(*(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names))


def _from_chunk(logits: np.ndarray, true: np.ndarray, temperature: float) -> PerImageResults:
    rows = np.arange(len(true))
    true_logits = logits[rows, true][:, None]
    earlier = np.arange(logits.shape[1]) < true[:, None]
    logs = log_softmax(logits.astype(np.float64) / temperature)
    probabilities = np.exp(logs)
    predicted = logits.argmax(axis=1)
    return PerImageResults(
        true=np.asarray(true, dtype=np.int64),
        predicted=predicted.astype(np.int64),
        rank=((logits > true_logits) | ((logits == true_logits) & earlier)).sum(axis=1),
        confidence=probabilities[rows, predicted],
        loss=-logs[rows, true],
        brier=np.square(probabilities).sum(axis=1) - 2 * probabilities[rows, true] + 1,
    )
