"""Precision, recall and F1 at every score threshold, and the threshold that is used: that with the largest F1."""

from typing import NamedTuple

import numpy as np

from resnets.tasks.detection.records import Records

DEFAULT = 0.5


class ScoreCurve(NamedTuple):
    """What is right where all objects with at least some score are reported; at an IoU of 0.5, over all classes together.

    Args:
        scores: float64 (c,), descending: the different scores.
        precision, recall, f1: float64 (c,); NaN where nothing is reported but what is ignored, or without objects.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def score_curve(records: Records, label: int | None = None) -> ScoreCurve:
    """The curve of a class, or of all (None)."""
    chosen = np.ones(len(records.found.labels), bool) if label is None else records.found.labels == label
    objects = ~records.truth.crowd if label is None else ~records.truth.crowd & (records.truth.labels == label)
    scores = records.found.scores[chosen].astype(np.float64)
    hits, ignored = (values[chosen] for values in records.matches.at(0))
    order = np.argsort(-scores, kind="stable")
    scores, hits, counted = scores[order], np.cumsum(hits[order]), np.cumsum(~ignored[order])
    ends = np.append(scores[:-1] != scores[1:], True)[: len(scores)]  # equal scores are reported together
    scores, hits, counted, total = scores[ends], hits[ends], counted[ends], int(objects.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return ScoreCurve(
            scores, hits / counted, hits / total, 2 * hits / (counted + total) if total else hits * np.nan
        )


def fit_threshold(records: Records) -> float | None:
    """The score from which on objects are reported with the largest F1; None without objects, or where none was found.

    It lies in the middle between two scores, so that rounding moves no object across; of equally good ones the highest is taken.
    """
    curve = score_curve(records)
    if not len(curve.scores) or not np.nanmax(curve.f1, initial=0.0) > 0:
        return None
    best = int(np.flatnonzero(curve.f1 >= np.nanmax(curve.f1) - 1e-12)[0])
    below = curve.scores[best + 1] if best + 1 < len(curve.scores) else 0.0
    return float((curve.scores[best] + below) / 2)
