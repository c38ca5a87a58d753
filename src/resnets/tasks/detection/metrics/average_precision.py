"""Average precision (AP) as COCO computes it, from objects that are matched already, for many resamples of the images at once.

It is quick enough to be computed after each epoch. `coco_metrics.py` computes all of COCO's numbers by another library, and
the tests compare the two.
"""

from collections.abc import Iterator

import numpy as np

from resnets.tasks.detection.metrics.match_detections import IOU_THRESHOLDS, Matches
from resnets.tasks.detection.records import Records

MAX_DETECTIONS = 100  # of one class in an image, by COCO's rules
_RECALLS = np.linspace(0, 1, 101)  # at which the precision is averaged
_MAX_VALUES = 4e6  # float64 of an array over resamples and found objects


def max_detections(records: Records) -> int:
    """How many objects of a class are counted in an image: COCO's 100, or the largest number of objects in an image."""
    return int(max(MAX_DETECTIONS, np.bincount(records.truth_image, minlength=1).max()))


def average_precisions(
    records: Records, num_classes: int, weights: np.ndarray | None = None, *, masks: bool = False
) -> np.ndarray:
    """The AP of each class at each of the ten IoU thresholds; NaN where a class has no object. Not for images of small objects.

    Args:
        weights: float64 (B, N), how often each of the N images counts in each of B resamples; None: once.
        masks: match masks instead of boxes.

    Returns:
        float64 (num_classes, 10), or (B, num_classes, 10).
    """
    matches = records.mask_matches if masks else records.matches
    assert matches is not None, "there are no masks"
    counts = np.ones((1, len(records))) if weights is None else weights
    objects = ~records.truth.crowd
    found = np.full((len(counts), num_classes, len(IOU_THRESHOLDS)), np.nan)
    for label, indices in ranked_by_class(records, num_classes):
        images = records.truth_image[objects & (records.truth.labels == label)]
        if not len(images):
            continue
        own = Matches(*(column[indices] for column in matches))
        size = max(1, int(_MAX_VALUES / max(len(indices), 1)))
        for start in range(0, len(counts), size):
            chunk = slice(start, start + size)
            seen = counts[chunk, records.found_image[indices]]
            totals, positives = np.cumsum(seen, axis=1), counts[chunk, images].sum(axis=1)
            for threshold in range(len(IOU_THRESHOLDS)):
                found[chunk, label, threshold] = _interpolate(seen, totals, *own.at(threshold), positives)
    return found[0] if weights is None else found


def ranked_by_class(records: Records, num_classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each class, and the indices of the found objects of it that count, in descending order of the score."""
    labels, images = records.found.labels, records.found_image
    order = np.lexsort((labels, images))  # stable, so that each class of an image stays in the order of the scores
    starts = np.flatnonzero(
        np.append(True, (np.diff(labels[order]) != 0) | (np.diff(images[order]) != 0))[: len(order)]
    )
    ranks = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    counted = np.sort(order[ranks < max_detections(records)])
    counted = counted[np.lexsort((-records.found.scores[counted], labels[counted]))]
    ends = np.searchsorted(labels[counted], np.arange(num_classes + 1))
    for label in range(num_classes):
        yield label, counted[ends[label] : ends[label + 1]]


def _interpolate(
    seen: np.ndarray, totals: np.ndarray, hits: np.ndarray, ignored: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """float64 (B,): the mean over 101 recalls of the largest precision at that recall or a higher one.

    It is attained at a hit, so that only these are visited.

    Args:
        seen, totals: float64 (B, m), how often each found object counts, and the sum up to it.
        hits, ignored: bool (m,).
        positives: float64 (B,), the number of objects.
    """
    places, skipped = np.flatnonzero(hits), np.flatnonzero(ignored)
    if not len(places):
        return np.where(positives > 0, 0.0, np.nan)
    right = np.cumsum(seen[:, places], axis=1)
    counted = totals[:, places]
    if len(skipped):
        ignored_so_far = np.cumsum(np.pad(seen[:, skipped], ((0, 0), (1, 0))), axis=1)
        counted = counted - ignored_so_far[:, np.searchsorted(skipped, places)]
    precisions = right / (counted + np.spacing(1))
    envelope = np.maximum.accumulate(precisions[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        recalls = right / positives[:, None]
        reached = np.searchsorted(_RECALLS, recalls, side="right")
    values = (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(_RECALLS)
    return np.where(positives > 0, values, np.nan)


def average_precision_of(hits: np.ndarray, ignored: np.ndarray, num_objects: int) -> float:
    """The AP of found objects (m,) in descending order of the score, some of them hits or ignored; 0 without objects."""
    seen = np.ones((1, len(hits)))
    values = _interpolate(seen, np.cumsum(seen, axis=1), hits, ignored, np.array([float(num_objects)]))
    return float(np.nan_to_num(values)[0])


def mean(precisions: np.ndarray) -> np.ndarray:
    """The mean over the classes with objects, and the IoU thresholds, of float64 (..., K, T); NaN without such a class."""
    known = ~np.isnan(precisions)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known, precisions, 0).sum(axis=(-2, -1)) / known.sum(axis=(-2, -1))


def validation_metrics(records: Records, num_classes: int) -> dict[str, float]:
    """box_ap and box_ap50, and with masks mask_ap and mask_ap50; 0 where there are no objects."""
    values = {}
    for kind in ("box", "mask") if records.mask_matches is not None else ("box",):
        precisions = average_precisions(records, num_classes, masks=kind == "mask")
        values[f"{kind}_ap"] = float(np.nan_to_num(mean(precisions)))
        values[f"{kind}_ap50"] = float(np.nan_to_num(mean(precisions[:, :1])))
    return values
