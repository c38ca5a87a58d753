"""Statistics of the rows of `predictions.csv`: accuracy, mean confidence, confusion matrix, thresholds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from resnets.tasks.classification import metrics

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)


class LabeledPrediction(NamedTuple):
    """The prediction for an image with a label."""

    path: str
    true: str
    predicted: str
    probability: float
    loss: float

    @property
    def correct(self) -> bool:
        return self.true == self.predicted


class Threshold(NamedTuple):
    """The fraction of images with a confidence of at least `confidence`, and the accuracy on those."""

    confidence: float
    fraction: float
    accuracy: float


@dataclass(frozen=True)
class PredictionStats:
    """The labeled predictions of a run, and the number of unlabeled ones."""

    predictions: list[LabeledPrediction]
    unlabeled: int

    @property
    def total(self) -> int:
        return len(self.predictions)

    @property
    def num_correct(self) -> int:
        return sum(prediction.correct for prediction in self.predictions)

    @property
    def mean_confidence(self) -> float:
        """NaN without predictions."""
        return sum(each.probability for each in self.predictions) / self.total if self.predictions else math.nan

    @property
    def most_common_class(self) -> tuple[str, int] | None:
        """The class with the most images, and their number: what always predicting it would get right."""
        return next(iter(Counter(each.true for each in self.predictions).most_common(1)), None)

    def confusion_matrix(self, order: Sequence[str]) -> tuple[list[str], csr_array]:
        """Class names, first those of `order`, and the sparse confusion matrix over them: row = true, column = predicted."""
        others = {name for each in self.predictions for name in (each.true, each.predicted)}.difference(order)
        class_names = [*order, *sorted(others)]
        indices = {name: index for index, name in enumerate(class_names)}
        true = np.array([indices[each.true] for each in self.predictions], dtype=np.int64)
        predicted = np.array([indices[each.predicted] for each in self.predictions], dtype=np.int64)
        return class_names, metrics.confusion_matrix(true, predicted, len(class_names))

    def top_losses(self, limit: int) -> list[LabeledPrediction]:
        """The predictions with the highest losses."""
        return sorted(self.predictions, key=lambda each: -each.loss)[:limit]

    def thresholds(self) -> list[Threshold]:
        """The accuracy on the images above each of `THRESHOLDS`, where there are any."""
        rows = []
        for confidence in THRESHOLDS:
            above = [each for each in self.predictions if each.probability >= confidence]
            if above:
                accuracy = sum(each.correct for each in above) / len(above)
                rows.append(Threshold(confidence, len(above) / self.total, accuracy))
        return rows


def from_rows(rows: Sequence[Mapping[str, str]]) -> PredictionStats:
    """Read the rows of a predictions table; an incomplete row counts as unlabeled."""
    predictions, unlabeled = [], 0
    for row in rows:
        try:
            probability, loss = float(row["probability"]), abs(float(row["loss"]))  # -0 comes from log(1)
        except (KeyError, ValueError):
            unlabeled += 1
            continue
        predictions.append(
            LabeledPrediction(row.get("path", ""), row.get("true", ""), row.get("predicted", ""), probability, loss)
        )
    return PredictionStats(predictions, unlabeled)
