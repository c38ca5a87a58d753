"""Predictions for the images of a dataset: logits, labels and paths, from which metrics and figures are computed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import special

from resnets import atomic_write

UNLABELED = -1


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a network, or of several together, for N images of K classes."""

    paths: tuple[str, ...]  # of the images
    true: np.ndarray  # int64 (N,), the index of the true class, -1 where the image has no label
    logits: np.ndarray  # float32 (N, K)
    class_names: tuple[str, ...]  # of the K classes
    temperature: float = 1.0  # divides the logits
    skipped: tuple[str, ...] = ()  # paths of images that could not be read; they are not among the N
    backend: str = ""  # what computed the logits; "" where that is not known
    precision: str = ""  # what computed the logits; "" where that is not known

    @property
    def computed(self) -> dict[str, str]:
        """`backend` and `precision` for JSON."""
        return {"backend": self.backend, "precision": self.precision}

    def __post_init__(self) -> None:
        num_images, num_classes = len(self.paths), len(self.class_names)
        assert self.true.shape == (num_images,), self.true.shape
        assert self.logits.shape == (num_images, num_classes), self.logits.shape

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        """float64 (N, K): the log-softmax of logits / temperature."""
        return log_softmax(self.logits.astype(np.float64) / self.temperature)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """float64 (N, K); each row sums to 1."""
        return np.exp(self.log_probabilities)

    @cached_property
    def predicted(self) -> np.ndarray:
        """int64 (N,): the most probable class, the first of equal ones."""
        return self.logits.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """float64 (N,): the probability of the predicted class."""
        return np.exp(self.log_probabilities.max(axis=1))

    @property
    def labeled(self) -> np.ndarray:
        """bool (N,): which images have a label."""
        return self.true != UNLABELED

    @property
    def correct(self) -> np.ndarray:
        """bool (N,): False without a label."""
        return self.predicted == self.true

    @property
    def losses(self) -> np.ndarray:
        """float64 (N,): the cross-entropy, -log of the probability of the true class; NaN without a label."""
        picked = self.log_probabilities[np.arange(len(self)), np.where(self.labeled, self.true, 0)]
        return np.where(self.labeled, -picked, np.nan)

    def with_labels(self) -> Predictions:
        """Only the images that have a label."""
        if self.labeled.all():
            return self
        indices = np.flatnonzero(self.labeled)
        paths = tuple(self.paths[index] for index in indices)
        return replace(self, paths=paths, true=self.true[indices], logits=self.logits[indices])

    def write_csv(self, path: str | Path) -> None:
        """Write a row for each image: path, true, predicted, probability, loss; a cell is empty where there is no label.

        Raises:
            JobError: `path` cannot be written to.
        """
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", "true", "predicted", "probability", "loss"])
        rows = zip(self.paths, self.true, self.predicted, self.confidence, self.losses, strict=True)
        for name, true, predicted, probability, loss in rows:
            label, shown = ("", "") if true == UNLABELED else (self.class_names[true], f"{loss:.6f}")
            table.writerow([name, label, self.class_names[predicted], f"{probability:.6f}", shown])
        # Bytes of file names that are not UTF-8 are kept.
        atomic_write.write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """float64 (..., K) of float (..., K), over the last axis."""
    return special.log_softmax(logits.astype(np.float64), axis=-1)


def average(log_probabilities: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> np.ndarray:
    """The log of the mean of probabilities, from their logs, float (..., K) of one shape.

    `weights` add up to 1; None for equal ones.
    """
    logs = np.stack([np.asarray(each, dtype=np.float64) for each in log_probabilities])
    factors = np.full(len(logs), 1 / len(logs)) if weights is None else np.asarray(weights)
    return special.logsumexp(logs, axis=0, b=factors.reshape(-1, *[1] * (logs.ndim - 1)))
