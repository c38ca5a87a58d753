"""Which found object is which annotated one, by COCO's rules.

In each image and class, the found objects are visited in descending order of their score. Each takes, of the annotated objects
that are still free, that with the largest intersection over union (IoU), if it reaches the threshold; what took none, but has
enough of its area in a crowd, is ignored. This is done for ten thresholds, 0.5, 0.55, ... 0.95. It depends on one image only, and
what is found with a lower score changes nothing above it, so that any selection of images, and any score threshold, can be
evaluated without matching again.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval.core import mask as coco_masks

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_LIMITS = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)


class Matches(NamedTuple):
    """How k found objects were matched.

    Args:
        hits: int (k,): bit t is set if an object was taken at `IOU_THRESHOLDS[t]`.
        ignored: int (k,): bit t is set if none was, and a crowd was reached.
        object: int (k,): the index of the object that was taken at an IoU of 0.5; -1 without.
    """

    hits: np.ndarray
    ignored: np.ndarray
    object: np.ndarray

    def at(self, threshold: int) -> tuple[np.ndarray, np.ndarray]:
        """bool (k,) each: which were hits, and which are ignored, at `IOU_THRESHOLDS[threshold]`."""
        return (self.hits >> threshold & 1).astype(bool), (self.ignored >> threshold & 1).astype(bool)


def box_ious(boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """float64 (k, n): the IoU of boxes (k, 4) and (n, 4), x1, y1, x2, y2; with a crowd, the intersection over the own area."""
    if not len(boxes) or not len(truth):
        return np.zeros((len(boxes), len(truth)))
    return np.asarray(coco_masks.iou(as_xywh(boxes), as_xywh(truth), crowd.astype(int).tolist()))


def as_xywh(boxes: np.ndarray) -> np.ndarray:
    """float64 (k, 4): x1, y1, width, height, as in COCO files."""
    corners = boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def match_boxes(
    boxes: np.ndarray, labels: np.ndarray, true_boxes: np.ndarray, true_labels: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """int32 (k, 3): the columns of `Matches`.

    Args:
        boxes, labels: (k, 4) and (k,), in descending order of the score.
        true_boxes, true_labels, crowd: (n, 4), (n,) and bool (n,).
    """
    return _match_classes(
        lambda found, true: box_ious(boxes[found], true_boxes[true], crowd[true]), labels, true_labels, crowd
    )


def match_masks(
    masks: Sequence[dict[str, Any]],
    labels: np.ndarray,
    true_masks: Sequence[dict[str, Any]],
    true_labels: np.ndarray,
    crowd: np.ndarray,
) -> np.ndarray:
    """int32 (k, 3), as `match_boxes`, for masks as COCO run-length encodings."""

    def ious(found: np.ndarray, true: np.ndarray) -> np.ndarray:
        pairs = [masks[k] for k in found.tolist()], [true_masks[k] for k in true.tolist()]
        return np.asarray(coco_masks.iou(*pairs, crowd[true].astype(int).tolist()))

    return _match_classes(ious, labels, true_labels, crowd)


def _match_classes(
    ious: Callable[[np.ndarray, np.ndarray], np.ndarray],
    labels: np.ndarray,
    true_labels: np.ndarray,
    crowd: np.ndarray,
) -> np.ndarray:
    table = np.zeros((len(labels), 3), np.int32)
    table[:, 2] = -1
    for label in np.intersect1d(labels, true_labels):
        found, true = np.flatnonzero(labels == label), np.flatnonzero(true_labels == label)
        true = true[np.argsort(crowd[true], kind="stable")]
        table[found] = _match(ious(found, true), int((~crowd[true]).sum()), true)
    return table


def _match(ious: np.ndarray, num_free: int, indices: np.ndarray) -> np.ndarray:
    """The columns of `Matches` for one class of one image.

    Args:
        ious: float64 (k, n), the crowds in the last columns.
        num_free: the number of columns that are not crowds.
        indices: int64 (n,), what the columns are called in the result.
    """
    table = np.zeros((len(ious), 3), np.int32)
    table[:, 2] = -1
    bits = 1 << np.arange(len(_LIMITS))
    free = np.ones((len(_LIMITS), num_free), bool)
    crowded = ious[:, num_free:].max(axis=1, initial=0.0)
    for k in np.flatnonzero(ious.max(axis=1) >= _LIMITS[0]).tolist():
        possible = np.where(free & (ious[k, :num_free] >= _LIMITS[:, None]), ious[k, :num_free], -1.0)
        hit = possible.max(axis=1, initial=-1.0) >= 0
        if hit.any():
            best = num_free - 1 - possible[:, ::-1].argmax(axis=1)  # of equal ones the last, as in COCO's evaluation
            free[hit, best[hit]] = False
            if hit[0]:
                table[k, 2] = indices[best[0]]
        table[k, 0] = bits @ hit
        table[k, 1] = bits @ (~hit & (crowded[k] >= _LIMITS))
    return table
