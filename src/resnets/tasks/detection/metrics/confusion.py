"""Right, wrong and missed objects at a score threshold, and the confusion matrix; at an IoU of 0.5, by the boxes."""

from typing import NamedTuple

import numpy as np

from resnets.tasks.detection.metrics.match_detections import box_ious
from resnets.tasks.detection.records import Records

_MIN_IOU = 0.5
SIDES = (0, 8, 16, 32, 64, 128, 256)  # lower limits in pixels of the square root of the area


class Outcomes(NamedTuple):
    """The found objects (M,) and the annotated ones (n,), sorted.

    Args:
        hits: bool (M,): reported, and an annotated object of the same class is there.
        wrong: bool (M,): reported, and none is there. What is in a crowd is neither.
        missed: bool (n,): not a crowd, and not among the hits.
        threshold: float64 (N,), that of each image.
    """

    hits: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray
    threshold: np.ndarray


def apply_threshold(records: Records, threshold: float | np.ndarray) -> Outcomes:
    """Sort the objects at a score threshold, or one (N,) for each image."""
    thresholds = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (len(records),))
    reported = records.found.scores >= thresholds[records.found_image]
    hits, ignored = records.matches.at(0)
    missed = ~records.truth.crowd
    missed[records.matches.object[hits & reported]] = False
    return Outcomes(hits & reported, ~hits & ~ignored & reported, missed, thresholds)


def image_counts(records: Records, reported: Outcomes) -> np.ndarray:
    """int64 (N, 3): the number of hits, of wrong and of missed objects in each image."""
    columns = (
        records.found_image[reported.hits],
        records.found_image[reported.wrong],
        records.truth_image[reported.missed],
    )
    return np.stack([np.bincount(column, minlength=len(records)) for column in columns], axis=1)


def f1(counts: np.ndarray) -> np.ndarray:
    """The F1 of counts (..., 3) of hits, wrong and missed objects; NaN where all are 0."""
    hits, wrong, missed = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2 * hits / (2 * hits + wrong + missed)


def image_scores(records: Records, threshold: float | np.ndarray) -> np.ndarray:
    """float64 (N,): the F1 of each image; 1 where there is no object and none is reported."""
    return np.nan_to_num(f1(image_counts(records, apply_threshold(records, threshold))), nan=1.0)


def confusion_matrix(records: Records, reported: Outcomes, num_classes: int) -> np.ndarray:
    """int64 (K + 1, K + 1): rows are the classes of the annotated objects, columns those of the reported ones; the last of each
    is the background.

    The hits are on the diagonal. Of the others, in descending order of the score, each takes the missed object of any class with
    the largest IoU, from 0.5 on, that no other one has taken. So a row of a class adds up to its objects, and a column to what is
    reported of the class, without what is in a crowd.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    labels = records.truth.labels
    hits = np.bincount(records.found.labels[reported.hits], minlength=num_classes)
    matrix[np.arange(num_classes), np.arange(num_classes)] = hits
    for image in range(len(records)):
        found, truth = records.found_in(image), records.truth_in(image)
        wrong, missed = np.flatnonzero(reported.wrong[found]), np.flatnonzero(reported.missed[truth])
        wrong, missed = wrong + found.start, missed + truth.start
        ious = box_ious(records.found.boxes[wrong], records.truth.boxes[missed], np.zeros(len(missed), bool))
        for row, label in zip(ious, records.found.labels[wrong].tolist(), strict=True):
            best = int(row.argmax()) if len(row) else -1
            if best >= 0 and row[best] >= _MIN_IOU:
                matrix[labels[missed[best]], label] += 1
                ious[:, best] = -1
            else:
                matrix[num_classes, label] += 1
        left = missed[(ious > -1).all(axis=0)] if len(ious) else missed
        np.add.at(matrix, (labels[left], num_classes), 1)
    return matrix


def recall_by_size(records: Records, reported: Outcomes) -> list[tuple[int, int]]:
    """For each of `SIDES` as the lower limit: the number of objects of this size, and how many of them were found."""
    sides = np.sqrt(records.truth.area)
    index = np.searchsorted(SIDES, sides, side="right") - 1
    counts = []
    for k in range(len(SIDES)):
        chosen = (index == k) & ~records.truth.crowd
        counts.append((int(chosen.sum()), int((chosen & ~reported.missed).sum())))
    return counts
