"""The metrics of an evaluation, with their intervals, those of each class and group, and the comparison of two models."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from resnets.data.datasets.dataset import Sample
from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.tasks import bootstrap
from resnets.tasks.comparison import Exposure, ScoreComparison
from resnets.tasks.segmentation.metrics import scores
from resnets.tasks.segmentation.metrics.records import Records

NUM_RESAMPLES = 2000
MIN_UNITS = 8  # pixels and images of one group are not independent: of fewer groups there is no interval
WORST = 0.05  # of the images
MAX_GROUPS = 30  # that are listed


def summarize(records: Records, widening: float = 1.0) -> dict[str, Any]:
    """The metrics of all images, for JSON; None where there is nothing to measure.

    Args:
        widening: factor of the width of the intervals.

    Returns:
        count; num_pixels, the labeled ones; num_classes, and num_classes_measured: those that are true or predicted
        somewhere, over which means are taken.
        miou, mean_dice, pixel_accuracy, mean_accuracy, frequency_weighted_iou; boundary_miou, of the pixels near the boundaries
        of the classes.
        image_miou, the mean of the mIoU of single images, and image_miou_worst_5pct, that of the lowest 5 % of them.
        num_units, of images that are no copies and of no common group; miou_interval, pixel_accuracy_interval and
        boundary_miou_interval: 95 %, by a bootstrap over the units; without one, interval_note says why.
    """
    total = records.counts.sum(axis=0)
    of_images = np.sort(image_miou(records))
    of_images = of_images[~np.isnan(of_images)]
    values = {
        "miou": scores.miou(total),
        "mean_dice": scores.mean(scores.dice(total)),
        "pixel_accuracy": scores.pixel_accuracy(total),
        "mean_accuracy": scores.mean(scores.recall(total)),
        "frequency_weighted_iou": scores.frequency_weighted_iou(total),
        "boundary_miou": scores.miou(records.boundary.sum(axis=0)),
        "image_miou": of_images.mean() if len(of_images) else math.nan,
        "image_miou_worst_5pct": of_images[: math.ceil(WORST * len(of_images))].mean() if len(of_images) else math.nan,
    }
    summary: dict[str, Any] = {
        "count": len(records),
        "num_pixels": int(total[1].sum()),
        "num_classes": records.num_classes,
        "num_classes_measured": int(np.isfinite(scores.iou(total)).sum()),
        **{key: number(value) for key, value in values.items()},
        "num_units": len(np.unique(records.unit)),
    }
    if summary["num_units"] < MIN_UNITS:
        return summary | {"interval_note": _too_few(len(records), summary["num_units"])}
    weights = bootstrap.resample(records.unit, NUM_RESAMPLES)
    for key, counts in (("", records.counts), ("boundary_", records.boundary)):
        resampled = _resampled(counts, weights)
        summary[f"{key}miou_interval"] = bootstrap.interval(scores.miou(resampled), summary[f"{key}miou"], widening)
        if not key:
            accuracies = scores.pixel_accuracy(resampled)
            summary["pixel_accuracy_interval"] = bootstrap.interval(accuracies, summary["pixel_accuracy"], widening)
    return summary


def number(value: Any) -> float | None:
    """The value for JSON; None for NaN."""
    return None if math.isnan(value) else float(value)


def image_miou(records: Records) -> np.ndarray:
    """float64 (N,): the mIoU of each image; NaN for one without a labeled pixel."""
    return scores.miou(records.counts)


def class_rows(records: Records, class_names: Sequence[str], *, intervals: bool = True) -> list[dict[str, Any]]:
    """A row for each class, for JSON: class, share of the labeled pixels, iou with iou_low and iou_high, dice, precision, recall
    and boundary_iou. None where there is nothing to measure, or too few units for an interval.

    Args:
        intervals: False for images that the weights were selected on, of which there is no interval.
    """
    total = records.counts.sum(axis=0)
    columns = {
        "iou": scores.iou(total), "dice": scores.dice(total), "precision": scores.precision(total),
        "recall": scores.recall(total), "boundary_iou": scores.iou(records.boundary.sum(axis=0)),
    }  # fmt: skip
    ends: list[list[float] | None] = [None] * len(class_names)
    if intervals and len(np.unique(records.unit)) >= MIN_UNITS:
        resampled = scores.iou(_resampled(records.counts, bootstrap.resample(records.unit, NUM_RESAMPLES)))
        ends = [
            bootstrap.interval(each, number(value)) for each, value in zip(resampled.T, columns["iou"], strict=True)
        ]
    rows = []
    for index, name in enumerate(class_names):
        low, high = ends[index] or (None, None)
        iou, *others = ((key, number(values[index])) for key, values in columns.items())
        share = number(np.divide(total[1, index], total[1].sum())) if total[1].any() else None
        rows.append({"class": name, "share": share, **dict([iou]), "iou_low": low, "iou_high": high, **dict(others)})
    return rows


def image_rows(records: Records, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """A row for each image, for CSV: path, group, labeled pixels, pixel_accuracy and miou."""
    columns = image_miou(records), scores.pixel_accuracy(records.counts), records.counts[:, 1].sum(axis=1)
    return [
        {"path": sample.path, "group": sample.group, "pixels": int(pixels), "pixel_accuracy": number(accuracy),
         "miou": number(miou)}
        for sample, miou, accuracy, pixels in zip(samples, *columns, strict=True)
    ]  # fmt: skip


def group_rows(records: Records, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """A row for each group of images, for JSON: group, images, miou and num_classes_measured; none where there are no groups, or
    more than 30.
    """
    names = sorted({sample.group for sample in samples if sample.group})
    if not 0 < len(names) <= MAX_GROUPS:
        return []
    rows = []
    for name in names:
        chosen = np.array([index for index, sample in enumerate(samples) if sample.group == name])
        total = records.counts[chosen].sum(axis=0)
        measured = int(np.isfinite(scores.iou(total)).sum())
        miou = number(scores.miou(total))
        rows.append({"group": name, "images": len(chosen), "miou": miou, "num_classes_measured": measured})
    return rows


def compare(a: Records, b: Records, clusters: np.ndarray, exposures: Sequence[Exposure]) -> ScoreComparison:
    """The mIoU of b minus that of a on the same images, by a paired bootstrap: both count the same images in each resample.

    Args:
        clusters: (N,), the same number for images that are drawn together.
        exposures: how many of the images were used to train or to select a, and b.
    """
    totals = [scores.miou(each.counts.sum(axis=0)) for each in (a, b)]
    if np.isnan(totals).any():
        raise UserError("Two models can only be compared on images of which some have labeled pixels; these have none.")
    difference, units = float(totals[1] - totals[0]), len(np.unique(clusters))
    if units < MIN_UNITS:
        note = _too_few(len(a), units)
        return ScoreComparison(difference, None, len(a), exposures[0], exposures[1], "mIoU", note)
    weights = bootstrap.resample(clusters, NUM_RESAMPLES)
    one, other = (scores.miou(_resampled(each.counts, weights)) for each in (a, b))
    interval = bootstrap.difference_interval(other - one)
    return ScoreComparison(difference, interval, len(a), exposures[0], exposures[1], "mIoU")


def _resampled(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 (B, 3, K): the sums of counts (N, 3, K) over the images of each of B resamples (B, N)."""
    return (weights @ counts.reshape(len(counts), -1)).reshape(len(weights), *counts.shape[1:])


def _too_few(num_images: int, num_units: int) -> str:
    images = pluralize(num_images, "image")
    of_groups = f", of {pluralize(num_units, 'group')} of images that belong together" if num_units < num_images else ""
    what = "groups" if of_groups else "images"
    return f"no interval: there are {images}{of_groups}, and fewer than {MIN_UNITS} {what} do not tell how others would differ"
