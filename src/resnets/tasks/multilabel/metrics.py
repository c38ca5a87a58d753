"""Metrics of images with any number of labels: average precision, precision, recall and F1, with bootstrap intervals.

All are fractions, 0 to 1. Macro averages are over the classes that have images; a class that was never predicted counts there
with an F1 of 0. Micro averages are over all pairs of an image and a class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from resnets.tasks import bootstrap

MAX_RESAMPLES, MIN_RESAMPLES = 1000, 200
_BUDGET = 4e8  # pairs of an image and a class that the resamples may visit together


@dataclass(frozen=True, eq=False)
class Labels:
    """What was found for N images and K classes."""

    logits: np.ndarray  # float32 (N, K)
    true: np.ndarray  # bool (N, K)
    predicted: np.ndarray  # bool (N, K)
    unit: np.ndarray  # int64 (N,), the same number for images that are copies or of one group


def average_precisions(logits: np.ndarray, true: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """float64 (K,), or (B, K): the average precision of each class, NaN without positives.

    AP is the sum over the distinct logits, from the largest on, of the precision times the gain of recall, without interpolation,
    as scikit-learn's `average_precision_score`.

    Args:
        logits: float (N, K).
        true: bool (N, K).
        weights: float (B, N), how often each image counts in each of B resamples; None: once.
    """
    counts = np.ones((1, len(logits))) if weights is None else weights
    found = np.stack([_average_precision(logits[:, k], true[:, k], counts) for k in range(logits.shape[1])], axis=1)
    return found[0] if weights is None else found


def _average_precision(logits: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 (B,)."""
    if not true.any():
        return np.full(len(weights), np.nan)
    order = np.argsort(-logits, kind="stable")
    values, weights = logits[order], weights[:, order]
    hits, totals = np.cumsum(weights * true[order], axis=1), np.cumsum(weights, axis=1)
    ends = np.flatnonzero(np.append(values[:-1] != values[1:], True))  # equal logits have one precision
    hits, totals = hits[:, ends], totals[:, ends]
    gains = np.diff(hits, axis=1, prepend=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precisions = np.where(totals > 0, hits / totals, 0)
        return (gains * precisions).sum(axis=1) / hits[:, -1]  # NaN where no positive was drawn


def mean_average_precision(logits: np.ndarray, true: np.ndarray) -> float | None:
    """The mean over the classes with positives; None if there is none."""
    found = average_precisions(logits, true)
    return None if np.isnan(found).all() else float(np.nanmean(found))


def per_class(labels: Labels) -> dict[str, np.ndarray]:
    """By name (K,): support (images with the class), predicted (images predicted to have it), ap, precision, recall and f1, NaN
    where they are not defined.
    """
    hits, support, predicted = _counts(labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "support": support,
            "predicted": predicted,
            "ap": average_precisions(labels.logits, labels.true),
            "precision": hits / predicted,
            "recall": hits / support,
            "f1": np.where(support > 0, 2 * hits / (support + predicted), np.nan),
        }


def summarize(labels: Labels, widening: float = 1.0) -> dict[str, Any]:
    """The metrics of all images, for JSON; None where there is nothing to measure.

    Args:
        widening: factor of the width of the intervals.

    Returns:
        count, num_classes, num_classes_with_images.
        map: the mean of the classes' average precisions; f1_macro, f1_micro, precision_micro, recall_micro.
        map_interval, f1_macro_interval, f1_micro_interval: 95 %, by a bootstrap over the `num_units` units; None where all
            resamples are alike.
        exact_match: fraction of images with exactly the true labels.
        loss: the cross-entropy summed over the classes.
        labels_per_image, predicted_per_image: means.
    """
    count = len(labels.true)
    hits, support, predicted = _counts(labels)
    logits = labels.logits.astype(np.float64)
    losses = np.logaddexp(0, logits) - logits * labels.true
    summary: dict[str, Any] = {
        "count": count,
        "num_classes": labels.true.shape[1],
        "num_classes_with_images": int((support > 0).sum()),
        "map": mean_average_precision(labels.logits, labels.true) if count else None,
        "f1_macro": _macro_f1(hits, support, predicted),
        "f1_micro": _ratio(2 * hits.sum(), support.sum() + predicted.sum()),
        "precision_micro": _ratio(hits.sum(), predicted.sum()),
        "recall_micro": _ratio(hits.sum(), support.sum()),
        "exact_match": _ratio((labels.true == labels.predicted).all(axis=1).sum(), count),
        "loss": float(losses.sum(axis=1).mean()) if count else None,
        "labels_per_image": _ratio(support.sum(), count),
        "predicted_per_image": _ratio(predicted.sum(), count),
        "num_units": len(np.unique(labels.unit)),
    }
    draws = resample(labels.unit, labels.true.shape[1]) if count else None
    for name, values in (resampled(labels, draws) if draws is not None else {}).items():
        summary[f"{name}_interval"] = bootstrap.interval(values, summary[name], widening)
    return summary


def resample(unit: np.ndarray, num_classes: int) -> np.ndarray:
    """float64 (B, N): how often each image counts in each of B resamples of the units, fewer of them for large data."""
    number = int(np.clip(_BUDGET / (len(unit) * num_classes), MIN_RESAMPLES, MAX_RESAMPLES))
    return bootstrap.resample(unit, number)


def resampled(labels: Labels, draws: np.ndarray) -> dict[str, np.ndarray]:
    """map, f1_macro and f1_micro (B,) of the resamples; NaN where there is no positive."""
    true, predicted = labels.true.astype(np.float64), labels.predicted.astype(np.float64)
    hits, support, found = draws @ (true * predicted), draws @ true, draws @ predicted
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(support > 0, 2 * hits / (support + found), np.nan)
        return {
            "map": _mean_of_defined(average_precisions(labels.logits, labels.true, draws)),
            "f1_macro": _mean_of_defined(f1),
            "f1_micro": 2 * hits.sum(1) / (support.sum(1) + found.sum(1)),
        }


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """The mean over the classes (B,) of the values (B, K) that are not NaN."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(defined, values, 0).sum(1) / defined.sum(1)


def image_scores(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """float64 (N,): the F1 of the labels of each image; 1 where there is none and none was predicted."""
    total = true.sum(1) + predicted.sum(1)
    return np.where(total > 0, 2 * (true & predicted).sum(1) / np.maximum(total, 1), 1.0)


def _counts(labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 (K,) each: images with a class that were predicted to have it, those with it, and those predicted to have it."""
    return (labels.true & labels.predicted).sum(0), labels.true.sum(0), labels.predicted.sum(0)


def _macro_f1(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> float | None:
    present = support > 0
    return float((2 * hits / np.maximum(support + predicted, 1))[present].mean()) if present.any() else None


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
