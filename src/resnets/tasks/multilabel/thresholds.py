"""The threshold of each class: an image gets every label whose probability reaches it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

DEFAULT = 0.5


def fit(logits: np.ndarray, true: np.ndarray) -> list[float | None]:
    """For each class the threshold of its probability with the largest F1 on these images; None for a class without positives.

    It lies in the middle between the logits of two images, so that rounding moves no image across; of equally good ones the
    nearest to 0.5 is taken.

    Args:
        logits: float (N, K).
        true: (N, K), 1 for the labels of an image, else 0.
    """
    return [_fit_class(logits[:, index], true[:, index] > 0) for index in range(logits.shape[1])]


def _fit_class(logits: np.ndarray, true: np.ndarray) -> float | None:
    if not true.any():
        return None
    order = np.argsort(-logits, kind="stable")
    values, hits = logits[order].astype(np.float64), np.cumsum(true[order])
    ends = np.append(values[:-1] != values[1:], True)  # after these a cut is possible: equal logits stay together
    cuts = np.append((values[:-1] + values[1:]) / 2, values[-1] - 1)[ends]
    cuts = cuts.clip(-30, 30)  # a probability of 1 is no threshold
    counts = np.arange(1, len(values) + 1)[ends]
    f1 = 2 * hits[ends] / (counts + hits[-1])
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(1 / (1 + np.exp(-cuts[best[np.argmin(np.abs(cuts[best]))]])))


def of_classes(fitted: Mapping[str, Any], class_names: Sequence[str]) -> np.ndarray:
    """float64 (K,): the fitted thresholds, 0.5 for classes that have none."""
    stored = fitted.get("thresholds", {})
    return np.array([DEFAULT if stored.get(name) is None else stored[name] for name in class_names], dtype=np.float64)


def apply(logits: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """bool (N, K): the labels of each image."""
    return logits >= np.log(thresholds / (1 - thresholds))[None]
