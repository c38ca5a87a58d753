"""The objects of all views of an image: each once.

Objects of two views are one if they have the same class and their boxes overlap; the one with the higher score is kept. Those
of a tile take precedence over those of the whole image, where the same object has fewer pixels. A box that touches an inner
edge of its tile may be a part of an object:

* it is dropped if a whole object of another view contains most of its area;
* else it is joined with such boxes of other tiles that look the same where both tiles overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resnets.tasks.detection.test_time_augmentation.image_views import Region

CONTAINED = 0.6  # of the area of a part
SAME_PART = 0.5  # IoU of two parts where their tiles overlap
MIN_SCORE_RATIO = 0.5  # of an object to a part that it contains: a doubtful large box must not remove what is certain
EDGE = 0.01  # of the side of a tile, within which a box touches its edge


class Candidates(NamedTuple):
    """The n objects of all views.

    Attributes:
        boxes: float64 (n, 4): x1, y1, x2, y2 in pixels of the image.
        scores, labels, views: (n,); `views` is the index of the view.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    views: np.ndarray


class Merged(NamedTuple):
    """The objects of an image, by descending score.

    Attributes:
        boxes: float64 (k, 4).
        members: of each object, the candidates that it is made of, the one with the highest score first.
    """

    boxes: np.ndarray
    members: list[list[int]]


def merge(found: Candidates, regions: Sequence[Region], size: tuple[int, int], iou: float) -> Merged:
    """Each object once.

    Args:
        regions: of each view.
        size: height and width of the image.
        iou: of the boxes of two views, above which they are of one object.
    """
    shown = np.array(regions, np.float64).reshape(-1, 4)[found.views]
    cut = _is_cut(found.boxes, shown, size)
    is_whole = (shown == [0, 0, *size[::-1]]).all(1)
    by_score = np.argsort(-found.scores, kind="stable")
    kept: list[int] = []
    for index in sorted(by_score.tolist(), key=lambda each: bool(is_whole[each])):  # tiles first
        if not cut[index] and not _is_repeated(found, index, kept, iou):
            kept.append(index)
    parts = _parts(found, [index for index in by_score.tolist() if cut[index]], kept, shown, iou)
    members = sorted([[index] for index in kept] + parts, key=lambda each: -found.scores[each[0]])
    boxes = [np.concatenate([found.boxes[each, :2].min(0), found.boxes[each, 2:].max(0)]) for each in members]
    return Merged(np.array(boxes).reshape(-1, 4), members)


def _is_cut(boxes: np.ndarray, shown: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether each box touches an edge of the region that its view shows, which is not one of the image: bool (n,)."""
    border = np.array([0, 0, size[1], size[0]])
    margin = EDGE * (shown[:, 2:] - shown[:, :2]).max(1, initial=0)[:, None]
    return ((np.abs(boxes - shown) <= margin) & (shown != border)).any(1)


def _is_repeated(found: Candidates, index: int, kept: list[int], iou: float) -> bool:
    """Whether one of the kept objects of other views is that object. Objects of one view are not compared, since the detector
    did that.
    """
    others = np.array(kept, np.int64)
    others = others[(found.labels[others] == found.labels[index]) & (found.views[others] != found.views[index])]
    return bool((iou_of(found.boxes[index], found.boxes[others]) > iou).any())


def _parts(found: Candidates, cut: list[int], whole: list[int], shown: np.ndarray, iou: float) -> list[list[int]]:
    """The parts that belong to none of the whole objects, joined to objects; `cut` is in descending order of the scores."""
    parts = [index for index in cut if not _is_contained(found, index, np.array(whole, np.int64), shown)]
    group_of = np.arange(len(parts))
    for position, index in enumerate(parts):
        same = _are_same(found, index, np.array(parts[:position], np.int64), shown, iou)
        group_of[np.isin(group_of, group_of[:position][same])] = position
    return [[parts[each] for each in np.flatnonzero(group_of == group)] for group in np.unique(group_of)]


def _is_contained(found: Candidates, index: int, whole: np.ndarray, shown: np.ndarray) -> bool:
    """Whether the part is most likely of one of the whole objects, which another view shows."""
    near = whole[
        (found.labels[whole] == found.labels[index])
        & (shown[whole] != shown[index]).any(1)
        & (found.scores[whole] >= MIN_SCORE_RATIO * found.scores[index])
    ]
    box = found.boxes[index]
    return bool((_intersection(box, found.boxes[near]) >= CONTAINED * _area(box)).any())


def _are_same(found: Candidates, index: int, others: np.ndarray, shown: np.ndarray, iou: float) -> np.ndarray:
    """Which other parts are of the same object: bool (n,)."""
    low = np.tile(np.maximum(shown[index, :2], shown[others, :2]), 2)  # both views show what is between these
    high = np.maximum(np.tile(np.minimum(shown[index, 2:], shown[others, 2:]), 2), low)
    clipped = np.clip(found.boxes[index], low, high), np.clip(found.boxes[others], low, high)
    is_one_region = (shown[others] == shown[index]).all(1)
    return (
        (found.labels[others] == found.labels[index])
        & (found.views[others] != found.views[index])
        & (iou_of(*clipped) > np.where(is_one_region, iou, SAME_PART))
    )


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1)


def _intersection(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Areas (n,) that boxes (n, 4) share with one box, or with as many others."""
    low, high = np.maximum(box[..., :2], boxes[:, :2]), np.minimum(box[..., 2:], boxes[:, 2:])
    return _area(np.concatenate([low, high], 1))


def iou_of(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The IoU (n,) of boxes (n, 4) with one box, or with as many others."""
    both = _intersection(box, boxes)
    return both / np.maximum(_area(box) + _area(boxes) - both, 1e-9)
