"""How good predictions are: as a whole, and class by class.

Shares are of 1. Intervals are Wilson's at 95 %. Macro averages are over the classes that have images in the set; a
class that was never predicted counts there with a precision of 0.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array, csr_array
from sklearn.metrics import precision_recall_fscore_support

from resnets import atomic_write
from resnets.tasks.classification import per_image_results
from resnets.tasks.classification.calibration import BINS, bins, ece, error_interval, expected_error, fit_temperature
from resnets.tasks.classification.compare import compare
from resnets.tasks.classification.confidence_intervals import wilson
from resnets.tasks.classification.per_image_results import Outcomes
from resnets.tasks.classification.prediction_set import Predictions

__all__ = ["compare", "confusion", "ece", "fit_temperature", "per_class", "summarize", "wilson", "write_per_class"]

TOP = 5


def summarize(predictions: Predictions) -> dict[str, Any]:
    """The figures of a whole set, as JSON can hold them; None where there is nothing to measure.

    Returns:
        count: images with a label, on which all that follows is measured.
        unlabeled, skipped: images without a label, and those that could not be read.
        classes, classes_with_images: K, and how many of them occur among the labels.
        top1, top1_interval: share of images whose most probable class is the true one.
        top5, top5_interval, top5_of: share whose true class is among the `top5_of` = min(5, K) most probable.
        loss: mean cross-entropy after the temperature.
        brier: mean Brier score over all classes, 0 to 2, after the temperature.
        precision_macro, recall_macro, f1_macro; balanced_accuracy, which is another name of recall_macro.
        ece, ece_bins: expected calibration error in that many bins of equal width; ece_interval holds the true one in at
            least 95 of 100 cases.
        temperature: by which the logits were divided.
    """
    found = per_image_results.of(predictions)
    missing = {"unlabeled": len(predictions) - len(found), "skipped": len(predictions.skipped)}
    return figures(found, len(predictions.classes), predictions.temperature) | missing


def figures(found: Outcomes, classes: int, temperature: float) -> dict[str, Any]:
    """As `summarize`, of labeled images of `classes` classes, each of which has an outcome."""
    count = len(found)
    top1, top5 = int((found.place == 0).sum()), int((found.place < min(TOP, classes)).sum())
    precision, recall, f1 = _macro(found, classes)
    return {
        "count": count,
        "unlabeled": 0,
        "skipped": 0,
        "classes": classes,
        "classes_with_images": len(np.unique(found.true)),
        "top1": top1 / count if count else None,
        "top1_interval": list(wilson(top1, count)) if count else None,
        "top5": top5 / count if count else None,
        "top5_interval": list(wilson(top5, count)) if count else None,
        "top5_of": min(TOP, classes),
        "loss": float(found.loss.mean()) if count else None,
        "brier": float(found.brier.mean()) if count else None,
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "balanced_accuracy": recall,
        "ece": expected_error(bins(found.confidence, found.correct)) if count else None,
        "ece_interval": list(error_interval(found.confidence, found.correct)) if count else None,
        "ece_bins": BINS,
        "temperature": float(temperature),
    }


def per_class(predictions: Predictions) -> list[dict[str, Any]]:
    """A row a class, in the order of the classes, as JSON can hold it.

    Returns:
        class; support (images of it); predicted (images taken for it); precision (None when none was); recall with
        recall_low and recall_high, and f1 (None without images).
    """
    known = predictions.with_labels()
    taken = np.bincount(known.predicted, minlength=len(known.classes))
    rows = []
    scores = _scores(known.true, known.predicted, len(known.classes))
    for index, (precision, recall, f1, support) in enumerate(zip(*scores, strict=True)):
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
    atomic_write.write_text(path, text.getvalue())


def confusion(predictions: Predictions) -> csr_array:
    """int64 (K, K), sparse: how many labeled images of the class of the row were taken for the class of the column."""
    known = predictions.with_labels()
    return counts(known.true, known.predicted, len(known.classes))


def counts(true: np.ndarray, predicted: np.ndarray, classes: int) -> csr_array:
    """int64 (K, K), sparse, of the true and the predicted class of each image; its memory follows the images, not K."""
    ones = np.ones(len(true), dtype=np.int64)
    return coo_array((ones, (true, predicted)), shape=(classes, classes)).tocsr()


def _scores(true: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, ...]:
    """precision, recall, F1 and support, each (K,); 0 where it is not defined."""
    if not len(true):
        return (np.zeros(classes),) * 4
    return precision_recall_fscore_support(true, predicted, labels=np.arange(classes), zero_division=0)


def _macro(found: Outcomes, classes: int) -> tuple[float | None, float | None, float | None]:
    precision, recall, f1, support = _scores(found.true, found.predicted, classes)
    present = support > 0
    if not present.any():
        return None, None, None
    return float(precision[present].mean()), float(recall[present].mean()), float(f1[present].mean())
