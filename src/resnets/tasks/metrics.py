"""How good predictions are: as a whole, and class by class.

Shares are of 1. Intervals are Wilson's at 95 %. Macro averages are over the classes that have pictures in the set; a
class that was never predicted counts there with a precision of 0.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from resnets import atomic
from resnets.tasks.calibration import BINS, ece, fit_temperature
from resnets.tasks.comparison import compare
from resnets.tasks.intervals import wilson
from resnets.tasks.predictions import Predictions

__all__ = ["compare", "confusion", "ece", "fit_temperature", "per_class", "summarize", "wilson", "write_per_class"]

TOP = 5


def summarize(predictions: Predictions) -> dict[str, Any]:
    """The figures of a whole set, as JSON can hold them; None where there is nothing to measure.

    Returns:
        count: pictures with a label, on which all that follows is measured.
        unlabelled, skipped: pictures without a label, and those that could not be read.
        classes, classes_with_pictures: K, and how many of them occur among the labels.
        top1, top1_interval: share of pictures whose most probable class is the true one.
        top5, top5_interval, top5_of: share whose true class is among the `top5_of` = min(5, K) most probable.
        loss: mean cross-entropy after the temperature.
        precision_macro, recall_macro, f1_macro; balanced_accuracy, which is another name of recall_macro.
        ece, ece_bins: expected calibration error in that many bins of equal width.
        temperature: by which the logits were divided.
    """
    known = predictions.with_labels()
    count = len(known)
    classes = len(known.classes)
    place = _place_of_truth(known)
    top1, top5 = int((place == 0).sum()), int((place < min(TOP, classes)).sum())
    precision, recall, f1 = _macro(known)
    return {
        "count": count,
        "unlabelled": len(predictions) - count,
        "skipped": len(predictions.skipped),
        "classes": classes,
        "classes_with_pictures": len(np.unique(known.true)),
        "top1": top1 / count if count else None,
        "top1_interval": list(wilson(top1, count)) if count else None,
        "top5": top5 / count if count else None,
        "top5_interval": list(wilson(top5, count)) if count else None,
        "top5_of": min(TOP, classes),
        "loss": float(known.losses.mean()) if count else None,
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "balanced_accuracy": recall,
        "ece": ece(known) if count else None,
        "ece_bins": BINS,
        "temperature": float(predictions.temperature),
    }


def per_class(predictions: Predictions) -> list[dict[str, Any]]:
    """A row a class, in the order of the classes, as JSON can hold it.

    Returns:
        class; support (pictures of it); predicted (pictures taken for it); precision (None when none was); recall with
        recall_low and recall_high, and f1 (None without pictures).
    """
    known = predictions.with_labels()
    taken = np.bincount(known.predicted, minlength=len(known.classes))
    rows = []
    for index, (precision, recall, f1, support) in enumerate(zip(*_scores(known), strict=True)):
        low, high = wilson(round(recall * support), int(support))
        rows.append(
            {
                "class": known.classes[index],
                "support": int(support),
                "predicted": int(taken[index]),
                "precision": float(precision) if taken[index] else None,
                "recall": float(recall) if support else None,
                "recall_low": low if support else None,
                "recall_high": high if support else None,
                "f1": float(f1) if support else None,
            }
        )
    return rows


def write_per_class(path: str | Path, predictions: Predictions) -> None:
    """Write the rows of `per_class` as a CSV file; what is None is an empty cell.

    Raises:
        JobError: `path` cannot be written to.
    """
    rows = per_class(predictions)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    atomic.write_text(path, text.getvalue())


def confusion(predictions: Predictions) -> np.ndarray:
    """int64 (K, K): how many labelled pictures of the class of the row were taken for the class of the column."""
    known = predictions.with_labels()
    if not len(known):
        return np.zeros((len(known.classes),) * 2, dtype=np.int64)
    return confusion_matrix(known.true, known.predicted, labels=np.arange(len(known.classes)))


def _place_of_truth(known: Predictions) -> np.ndarray:
    """int (N,): how many classes come before the true one; among equals the one with the smaller index comes first."""
    own = known.logits[np.arange(len(known)), known.true][:, None]
    earlier = np.arange(len(known.classes)) < known.true[:, None]
    return ((known.logits > own) | ((known.logits == own) & earlier)).sum(axis=1)


def _scores(known: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """precision, recall, F1 and support, each (K,); 0 where it is not defined."""
    classes = np.arange(len(known.classes))
    if not len(known):
        nothing = np.zeros(len(classes))
        return nothing, nothing, nothing, nothing
    return precision_recall_fscore_support(known.true, known.predicted, labels=classes, zero_division=0)


def _macro(known: Predictions) -> tuple[float | None, float | None, float | None]:
    precision, recall, f1, support = _scores(known)
    present = support > 0
    if not present.any():
        return None, None, None
    return float(precision[present].mean()), float(recall[present].mean()), float(f1[present].mean())
