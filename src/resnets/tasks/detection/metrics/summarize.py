"""The metrics of an evaluation, with their intervals, those of each class, and the comparison of two models."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnets.errors import UserError
from resnets.tasks import bootstrap
from resnets.tasks.comparison import Exposure, ScoreComparison
from resnets.tasks.detection.metrics import average_precision
from resnets.tasks.detection.metrics.average_precision import average_precisions
from resnets.tasks.detection.metrics.coco_metrics import coco_metrics
from resnets.tasks.detection.metrics.confusion import apply_threshold, f1, image_counts
from resnets.tasks.detection.records import Records

MAX_RESAMPLES, MIN_RESAMPLES = 1000, 200
_BUDGET = 1e9  # found objects that the resamples may visit together
_HIT_COST = 60  # of an annotated object, relative to a found one


def summarize(
    records: Records,
    num_classes: int,
    threshold: float | np.ndarray,
    unit: np.ndarray | None = None,
    widening: float = 1.0,
) -> dict[str, Any]:
    """The metrics of all images, for JSON; None where there is nothing to measure.

    Args:
        threshold: of the score; (N,) where images have their own.
        unit: (N,), the same number for images that are copies or of one group; None: there are no such images.
        widening: factor of the width of the intervals.

    Returns:
        count, num_classes, num_classes_with_objects; num_objects, without the num_crowds.
        box_ap and all others of `coco_metrics`.
        threshold (the mean, where there are several), and with it, at an IoU of 0.5: true_positives, false_positives,
        false_negatives, precision_micro, recall_micro and f1_micro.
        box_ap_interval, box_ap50_interval, those of masks, and of precision, recall and F1: 95 %, by a
        bootstrap over the `num_units` units.
    """
    reported = apply_threshold(records, threshold)
    counts = image_counts(records, reported)
    hits, wrong, missed = counts.sum(axis=0).tolist()
    objects = ~records.truth.crowd
    summary: dict[str, Any] = {
        "count": len(records),
        "num_classes": num_classes,
        "num_classes_with_objects": len(np.unique(records.truth.labels[objects])),
        "num_objects": records.num_objects,
        "num_crowds": int(records.truth.crowd.sum()),
        **coco_metrics(records, num_classes),
        "threshold": float(reported.threshold.mean()) if len(records) else None,
        "true_positives": hits,
        "false_positives": wrong,
        "false_negatives": missed,
        "precision_micro": hits / (hits + wrong) if hits + wrong else None,
        "recall_micro": hits / (hits + missed) if hits + missed else None,
        "f1_micro": 2 * hits / (2 * hits + wrong + missed) if hits + wrong + missed else None,
    }
    if len(records):
        own_unit = np.arange(len(records)) if unit is None else unit
        summary["num_units"] = len(np.unique(own_unit))
        for name, values in _resampled(records, num_classes, counts, _weights(records, own_unit)).items():
            summary[f"{name}_interval"] = bootstrap.interval(values, summary[name], widening)
    return summary


def _weights(records: Records, unit: np.ndarray) -> np.ndarray:
    cost = len(records.found.scores) + _HIT_COST * len(records.truth.labels)
    return bootstrap.resample(unit, int(np.clip(_BUDGET / max(cost, 1), MIN_RESAMPLES, MAX_RESAMPLES)))


def _resampled(records: Records, num_classes: int, counts: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """By name, float64 (B,): the metrics of the resamples."""
    values = {}
    for kind in ("box", "mask") if records.mask_matches is not None else ("box",):
        precisions = average_precisions(records, num_classes, weights, masks=kind == "mask")
        values[f"{kind}_ap"] = average_precision.mean(precisions)
        values[f"{kind}_ap50"] = average_precision.mean(precisions[..., :1])
    sums = weights @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        values["precision_micro"] = sums[:, 0] / (sums[:, 0] + sums[:, 1])
        values["recall_micro"] = sums[:, 0] / (sums[:, 0] + sums[:, 2])
    return values | {"f1_micro": f1(sums)}


def class_rows(records: Records, class_names: Sequence[str], threshold: float | np.ndarray) -> list[dict[str, Any]]:
    """A row for each class, for JSON: class, objects, reported, box_ap, box_ap50, with masks mask_ap and mask_ap50, then
    precision, recall and f1 at the threshold. None where there is nothing to measure.
    """
    reported, num_classes = apply_threshold(records, threshold), len(class_names)
    counts = np.stack(
        [
            np.bincount(records.found.labels[reported.hits], minlength=num_classes),
            np.bincount(records.found.labels[reported.wrong], minlength=num_classes),
            np.bincount(records.truth.labels[reported.missed], minlength=num_classes),
        ],
        axis=1,
    )
    columns: dict[str, np.ndarray] = {}
    for kind in ("box", "mask") if records.mask_matches is not None else ("box",):
        precisions = average_precisions(records, num_classes, masks=kind == "mask")
        columns |= {f"{kind}_ap": precisions.mean(axis=1), f"{kind}_ap50": precisions[:, 0]}
    hits, wrong, missed = counts.T
    with np.errstate(invalid="ignore", divide="ignore"):
        columns |= {"precision": hits / (hits + wrong), "recall": hits / (hits + missed)}
    columns["f1"] = np.where(hits + missed > 0, f1(counts), np.nan)
    return [
        {
            "class": name,
            "objects": int(hits[k] + missed[k]),
            "reported": int(hits[k] + wrong[k]),
            **{key: None if np.isnan(values[k]) else float(values[k]) for key, values in columns.items()},
        }
        for k, name in enumerate(class_names)
    ]


def compare(
    a: Records,
    b: Records,
    num_classes: int,
    clusters: np.ndarray,
    exposures: Sequence[Exposure],
    *,
    masks: bool = False,
) -> ScoreComparison:
    """The AP of b minus that of a on the same images, by a paired bootstrap: both count the same images in each resample.

    Args:
        clusters: (N,), the same number for images that are drawn together.
        exposures: how many of the images were used to train or to select a, and b.
    """
    weights = np.vstack([np.ones(len(a)), _weights(a, clusters)])
    values = [average_precision.mean(average_precisions(each, num_classes, weights, masks=masks)) for each in (a, b)]
    gaps = values[1] - values[0]
    if np.isnan(gaps[0]) or np.isnan(gaps[1:]).all():
        raise UserError("Two models can only be compared on images of which some have objects; these have none.")
    interval, metric = bootstrap.difference_interval(gaps[1:]), "mask AP" if masks else "box AP"
    return ScoreComparison(float(gaps[0]), interval, len(a), exposures[0], exposures[1], metric)
