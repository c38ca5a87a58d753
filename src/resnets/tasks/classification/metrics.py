"""Metrics of predictions: accuracy, precision, recall, F1, loss and calibration, as a whole and class by class.

Accuracies are fractions, 0 to 1. Intervals are Wilson's at 95 %. Macro averages are over the classes that have images; a
class that was never predicted counts there with a precision of 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.tasks.classification import per_image_results
from resnets.tasks.classification.calibration import BINS, bins, error_by_chance, error_interval, expected_error
from resnets.tasks.classification.confidence_intervals import wilson
from resnets.tasks.classification.per_image_results import PerImageResults
from resnets.tasks.classification.prediction_set import Predictions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TOP = 5


def summarize(predictions: Predictions) -> dict[str, Any]:
    """The metrics of a dataset, for JSON; None where there is nothing to measure.

    Returns:
        count: number of images with a label, on which the metrics are measured.
        unlabeled, skipped: number of images without a label, and of those that could not be read.
        num_classes, num_classes_with_images: K, and how many of them occur among the labels.
        top1, top1_interval: fraction of images whose most probable class is the true one.
        top5, top5_interval, top5_of: fraction whose true class is among the `top5_of` = min(5, K) most probable.
        loss: mean cross-entropy after the temperature.
        brier: mean Brier score over all classes, 0 to 2, after the temperature.
        precision_macro, recall_macro, f1_macro; balanced_accuracy, which is another name of recall_macro.
        ece, ece_bins: expected calibration error in that many bins of equal width; ece_interval contains the true one in at
            least 95 of 100 cases; a perfectly calibrated model exceeds ece_by_chance in 5 of 100 cases.
        mean_confidence: mean probability of the predicted classes; above top1 for an overconfident model.
        temperature: by which the logits were divided.
    """
    results = per_image_results.from_predictions(predictions)
    missing = {"unlabeled": len(predictions) - len(results), "skipped": len(predictions.skipped)}
    return summarize_results(results, len(predictions.class_names), predictions.temperature) | missing


def summarize_results(results: PerImageResults, num_classes: int, temperature: float) -> dict[str, Any]:
    """As `summarize`, from the results of labeled images."""
    count = len(results)
    top1, top5 = int((results.rank == 0).sum()), int((results.rank < min(TOP, num_classes)).sum())
    *scores, support = _scores(results.true, results.predicted, num_classes)
    present = support > 0
    precision, recall, f1 = (float(each[present].mean()) if present.any() else None for each in scores)
    return {
        "count": count,
        "unlabeled": 0,
        "skipped": 0,
        "num_classes": num_classes,
        "num_classes_with_images": len(np.unique(results.true)),
        "top1": top1 / count if count else None,
        "top1_interval": list(wilson(top1, count)) if count else None,
        "top5": top5 / count if count else None,
        "top5_interval": list(wilson(top5, count)) if count else None,
        "top5_of": min(TOP, num_classes),
        "loss": float(results.loss.mean()) if count else None,
        "brier": float(results.brier.mean()) if count else None,
        "precision_macro": precision,
        "recall_macro": recall,
        "f1_macro": f1,
        "balanced_accuracy": recall,
        "ece": expected_error(bins(results.confidence, results.correct)) if count else None,
        "ece_interval": list(error_interval(results.confidence, results.correct)) if count else None,
        "ece_by_chance": error_by_chance(results.confidence) if count else None,
        "ece_bins": BINS,
        "mean_confidence": float(results.confidence.mean()) if count else None,
        "temperature": float(temperature),
    }


def per_class(predictions: Predictions) -> list[dict[str, Any]]:
    """A row for each class, in the order of the classes, for JSON.

    Returns:
        class; support (number of its images); predicted (number of images predicted as it); precision (None where that is
        0); recall with recall_low and recall_high, and f1 (None without images).
    """
    labeled = predictions.with_labels()
    num_predicted = np.bincount(labeled.predicted, minlength=len(labeled.class_names))
    rows = []
    scores = _scores(labeled.true, labeled.predicted, len(labeled.class_names))
    for index, (precision, recall, f1, support) in enumerate(zip(*scores, strict=True)):
        low, high = wilson(round(recall * support), int(support))
        row = {"class": labeled.class_names[index], "support": int(support), "predicted": int(num_predicted[index])}
        row["precision"] = float(precision) if num_predicted[index] else None
        values = {"recall": float(recall), "recall_low": low, "recall_high": high, "f1": float(f1)}
        rows.append(row | (values if support else dict.fromkeys(values)))
    return rows


def confusion(predictions: Predictions) -> csr_array:
    """The confusion matrix, sparse int64 (K, K): labeled images by true class (row) and predicted class (column)."""
    labeled = predictions.with_labels()
    return confusion_matrix(labeled.true, labeled.predicted, len(labeled.class_names))


def confusion_matrix(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> csr_array:
    """Sparse int64 (K, K), from the true and the predicted class of each image; its memory grows with the images, not K."""
    from scipy.sparse import coo_array  # slow to import

    ones = np.ones(len(true), dtype=np.int64)
    return coo_array((ones, (true, predicted)), shape=(num_classes, num_classes)).tocsr()


def _scores(true: np.ndarray, predicted: np.ndarray, num_classes: int) -> tuple[np.ndarray, ...]:
    """precision, recall, F1 and support, each (K,); 0 where it is not defined."""
    if not len(true):
        return (np.zeros(num_classes),) * 4
    from sklearn.metrics import precision_recall_fscore_support  # takes a second to import

    return precision_recall_fscore_support(true, predicted, labels=np.arange(num_classes), zero_division=0)
