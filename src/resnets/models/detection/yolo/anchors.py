"""Anchors of YOLOv3: COCO's, or the cluster centers of the sizes of other boxes (Redmon and Farhadi 2017, section 2)."""

from typing import NamedTuple

import torch
from torch import Tensor

# Width and height of the nine anchors in pixels of images of 416 x 416, in the order of the area (Redmon and Farhadi 2018).
COCO_IMGSZ = 416
COCO_ANCHORS = (
    (10.0, 13.0), (16.0, 30.0), (33.0, 23.0),
    (30.0, 61.0), (62.0, 45.0), (59.0, 119.0),
    (116.0, 90.0), (156.0, 198.0), (373.0, 326.0),
)  # fmt: skip
MIN_GAIN = 0.02  # in mean best IoU, by which other anchors must be better than COCO's
MAX_BOXES = 20_000  # of which the centers are found: more would change them little
MAX_ITERATIONS = 100
RESTARTS = 5


class AnchorFit(NamedTuple):
    """Anchors and how well they fit the boxes.

    Attributes:
        anchors: width and height of each anchor in pixels, in the order of the area.
        mean_best_iou: the mean over boxes of the IoU with the best anchor, both centered at one point.
        recall: the fraction of boxes whose best IoU is above 0.25.
        from_boxes: False if COCO's anchors were kept.
    """

    anchors: tuple[tuple[float, float], ...]
    mean_best_iou: float
    recall: float
    from_boxes: bool


def fit_anchors(sizes: Tensor, imgsz: int, seed: int = 0) -> AnchorFit:
    """The nine anchors for boxes: k-means with the distance 1 - IoU, or COCO's if these fit about as well.

    Args:
        sizes: (n, 2), width and height of the training boxes in pixels, after the images were resized to `imgsz`.
        imgsz: the size to which COCO's anchors are scaled.
        seed: of the initial centers.

    Returns:
        COCO's anchors scaled to `imgsz`, unless k-means has a mean best IoU that is higher by `MIN_GAIN`.
    """
    scaled = torch.tensor(COCO_ANCHORS, dtype=torch.float64) * imgsz / COCO_IMGSZ
    sizes = sizes.double()
    sizes = sizes[(sizes > 0).all(1)]
    best, from_boxes = scaled, False
    if len(sizes):
        chosen = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))[:MAX_BOXES]
        centers = kmeans(sizes[chosen], len(COCO_ANCHORS), seed)
        if _mean_best_iou(sizes, centers) >= _mean_best_iou(sizes, scaled) + MIN_GAIN:
            best, from_boxes = centers, True
    best_iou = shape_iou(sizes, best).amax(1) if len(sizes) else torch.zeros(1)
    anchors = tuple((round(width, 2), round(height, 2)) for width, height in best.tolist())
    return AnchorFit(anchors, float(best_iou.mean()), float((best_iou > 0.25).double().mean()), from_boxes)


def kmeans(sizes: Tensor, count: int, seed: int = 0) -> Tensor:
    """`count` cluster centers (count, 2) of positive box sizes (n, 2) by the distance 1 - IoU, in the order of the area.

    The best of several k-means++ initializations. With fewer different sizes than `count`, some centers are equal.
    """
    generator = torch.Generator().manual_seed(seed)
    fits = [_lloyd(sizes, _initial_centers(sizes, count, generator)) for _ in range(RESTARTS)]
    centers = max(fits, key=lambda centers: _mean_best_iou(sizes, centers))
    return centers[centers.prod(1).argsort(stable=True)]


def shape_iou(sizes: Tensor, others: Tensor) -> Tensor:
    """IoU (n, m) of boxes of width and height (n, 2) and (m, 2) that have one center."""
    intersection = torch.minimum(sizes[:, None], others[None]).prod(2)  # (n, m)
    return intersection / (sizes.prod(1)[:, None] + others.prod(1)[None] - intersection)


def _initial_centers(sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii 2007): each next center in proportion to the squared distance from the others."""
    chosen = [int(torch.randint(len(sizes), (), generator=generator))]
    distance = torch.full((len(sizes),), torch.inf, dtype=sizes.dtype)
    while len(chosen) < count:
        distance = torch.minimum(distance, 1 - shape_iou(sizes, sizes[chosen[-1:]])[:, 0])
        ends = (distance.clamp(min=0) ** 2 + 1e-12).cumsum(0)
        point = torch.rand((), dtype=sizes.dtype, generator=generator) * ends[-1]
        chosen.append(min(int(torch.searchsorted(ends, point, right=True)), len(sizes) - 1))
    return sizes[chosen]


def _lloyd(sizes: Tensor, centers: Tensor) -> Tensor:
    """Lloyd's iteration: each box to its best center, each center to the mean of its boxes, until nothing changes."""
    nearest = None
    for _ in range(MAX_ITERATIONS):
        previous, nearest = nearest, shape_iou(sizes, centers).argmax(1)
        if previous is not None and torch.equal(previous, nearest):
            break
        counts = torch.bincount(nearest, minlength=len(centers))[:, None]
        sums = torch.zeros_like(centers).index_add_(0, nearest, sizes)
        centers = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
    return centers


def _mean_best_iou(sizes: Tensor, anchors: Tensor) -> float:
    return float(shape_iou(sizes, anchors).amax(1).mean())
