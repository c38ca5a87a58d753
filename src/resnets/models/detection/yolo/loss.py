"""The loss of YOLOv3 (Redmon and Farhadi 2018, section 2); its gradients are the deltas of darknet's `src/yolo_layer.c`."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from resnets.models.detection.yolo.anchors import shape_iou
from resnets.models.detection.yolo.grid import YOLOGrid, decode

GIOU_WEIGHT = 2.5  # of 1 - GIoU beside the sums of cross entropies
MIN_SIDE = 0.01  # pixels; the logarithm of an empty box would be infinite


class Assignment(NamedTuple):
    """The position that has to find each of n objects.

    Attributes:
        positions: int64 (n,), in the grid.
        is_last: bool (n,), whether no later object has the same position: the last one gives the box.
        same: bool (n, n), whether two objects have the same position, which then has the classes of both.
    """

    positions: Tensor
    is_last: Tensor
    same: Tensor


def assign(boxes: Tensor, grid: YOLOGrid) -> Assignment:
    """Each box (n, 4) to the cell of its center, and there to that of all the anchors whose shape has the highest IoU."""
    per_level = grid.level_anchors.shape[1]
    best = shape_iou(_sizes(boxes), grid.level_anchors.reshape(-1, 2)).argmax(1)  # (n,)
    level, anchor = best // per_level, best % per_level
    rows, columns = grid.shapes[level].unbind(1)
    cells = (_centers(boxes) / grid.level_strides[level, None]).floor().long()
    column = torch.minimum(cells[:, 0].clamp(min=0), columns - 1)
    row = torch.minimum(cells[:, 1].clamp(min=0), rows - 1)
    positions = grid.starts[level] + (row * columns + column) * per_level + anchor
    same = positions[:, None] == positions[None]
    return Assignment(positions, ~same.triu(1).any(1), same)


def image_losses(
    raw: Tensor, boxes: Tensor, labels: Tensor, grid: YOLOGrid, size: Tensor, *, ignore_iou: float, box_loss: str
) -> dict[str, Tensor]:
    """The terms of the loss of one image, each a sum over its positions and a tensor ().

    Args:
        raw: (A, 5 + K), the numbers before sigmoid and exp: x, y, width, height, objectness, classes.
        boxes: (n, 4), x1, y1, x2, y2 in pixels.
        labels: int64 (n,).
        size: (2,), height and width of the image in pixels without its padding; positions in the padding do not count.
        ignore_iou: a position without an object has no loss if its box has a higher IoU with any object.
        box_loss: "paper", cross entropy of the center and squared error of the logarithms of width and height; or "giou",
            1 - GIoU (Rezatofighi et al. 2019). Either is multiplied by 2 - (area of the object / area of the image).
    """
    raw, boxes, extent = raw.float() if raw.dtype != torch.float64 else raw, boxes.to(grid.corners), size.flip(0)
    found = assign(boxes, grid)
    at = found.positions
    with torch.no_grad():
        overlap = box_iou(decode(raw, grid.corners, grid.strides, grid.anchors), boxes)  # (A, n)
        counts = (grid.corners < extent).all(1) & ~(overlap > ignore_iou).any(1)
        counts = counts.index_fill(0, at, True)
        is_object = torch.zeros_like(raw[:, 4]).index_fill(0, at, 1)
        one_hot = labels[:, None] == torch.arange(raw.shape[1] - 5, device=raw.device)
        classes = (found.same.to(raw) @ one_hot.to(raw)).clamp(max=1)  # (n, K)
    weight = found.is_last * (2 - _sizes(boxes).prod(1) / extent.prod())  # (n,)
    mine = raw[at]  # (n, 5 + K)
    if box_loss == "giou":
        predicted = decode(mine, grid.corners[at], grid.strides[at], grid.anchors[at])
        per_object = GIOU_WEIGHT * generalized_box_iou_loss(predicted, boxes)
    else:
        center = ((_centers(boxes) - grid.corners[at]) / grid.strides[at]).clamp(0, 1)
        scale = (_sizes(boxes).clamp(min=MIN_SIDE) / grid.anchors[at]).log()
        per_object = F.binary_cross_entropy_with_logits(mine[:, 0:2], center, reduction="none").sum(1)
        per_object = per_object + 0.5 * ((mine[:, 2:4] - scale) ** 2).sum(1)
    objectness = F.binary_cross_entropy_with_logits(raw[:, 4], is_object, reduction="none")
    classification = F.binary_cross_entropy_with_logits(mine[:, 5:], classes, reduction="none").sum(1)
    return {
        "box": (weight * per_object).sum(),
        "objectness": (objectness * counts).sum(),
        "class": (classification * found.is_last).sum(),
    }


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _sizes(boxes: Tensor) -> Tensor:
    return boxes[:, 2:] - boxes[:, :2]
