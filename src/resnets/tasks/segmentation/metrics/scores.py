"""Scores of classes from counts of pixels (..., 3, K): right, true and predicted ones. NaN where there is nothing to measure.

All counts may be sums over images, or of resamples of them.
"""

from typing import Any

import numpy as np


def iou(counts: np.ndarray) -> np.ndarray:
    """(..., K): intersection over union; NaN for a class that is neither true nor predicted anywhere."""
    right, true, predicted = _parts(counts)
    return _ratio(right, true + predicted - right)


def dice(counts: np.ndarray) -> np.ndarray:
    """(..., K): 2 |P T| / (|P| + |T|), which is the F1 of the pixels."""
    right, true, predicted = _parts(counts)
    return _ratio(2 * right, true + predicted)


def precision(counts: np.ndarray) -> np.ndarray:
    """(..., K): the right part of what is predicted."""
    right, _, predicted = _parts(counts)
    return _ratio(right, predicted)


def recall(counts: np.ndarray) -> np.ndarray:
    """(..., K): the part of the class that is found."""
    right, true, _ = _parts(counts)
    return _ratio(right, true)


def mean(values: np.ndarray) -> np.ndarray:
    """(...): the mean over the classes (..., K) that have a value; NaN where none has."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1))


def miou(counts: np.ndarray) -> np.ndarray:
    """(...): the mean IoU of the classes that are true or predicted somewhere."""
    return mean(iou(counts))


def pixel_accuracy(counts: np.ndarray) -> np.ndarray:
    """(...): the part of the pixels that is right."""
    right, true, _ = _parts(counts)
    return _ratio(right.sum(-1), true.sum(-1))


def frequency_weighted_iou(counts: np.ndarray) -> np.ndarray:
    """(...): the mean IoU of the classes, each with the weight of its true pixels."""
    _, true, _ = _parts(counts)
    return _ratio(np.where(true > 0, true * iou(counts), 0.0).sum(-1), true.sum(-1))


def _parts(counts: np.ndarray) -> Any:
    return np.moveaxis(counts, -2, 0)


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(one, other, dtype=np.float64)
