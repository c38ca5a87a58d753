"""The positions at which YOLOv3 predicts boxes, and the box of each prediction (Redmon and Farhadi 2018, section 2.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MAX_LOG_SCALE = 10.0  # of exp(tw) and exp(th), which would overflow in a network that diverges


class YOLOGrid(NamedTuple):
    """The A positions of all levels: for each level, row, column and anchor, in this order.

    Attributes:
        corners: float (A, 2), x and y in pixels of the upper left corner of the position's cell.
        strides: float (A, 1), height and width of the cell in pixels.
        anchors: float (A, 2), width and height in pixels.
        shapes: int64 (L, 2), height and width of each level in cells.
        starts: int64 (L,), the first position of each level.
        level_strides: int64 (L,), in pixels.
        level_anchors: float (L, anchors of a level, 2).
    """

    corners: Tensor
    strides: Tensor
    anchors: Tensor
    shapes: Tensor
    starts: Tensor
    level_strides: Tensor
    level_anchors: Tensor


def make_grid(shapes: Sequence[tuple[int, int]], strides: Sequence[int], anchors: Tensor) -> YOLOGrid:
    """The grid of levels of `shapes` (height, width), `strides` in pixels and `anchors` (L, number for each level, 2)."""
    corners, all_strides, all_anchors, starts = [], [], [], [0]
    for (height, width), stride, level_anchors in zip(shapes, strides, anchors, strict=True):
        rows = torch.arange(height, device=anchors.device, dtype=anchors.dtype) * stride
        columns = torch.arange(width, device=anchors.device, dtype=anchors.dtype) * stride
        cells = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)], 2).reshape(-1, 1, 2)
        count = len(level_anchors)
        corners.append(cells.expand(-1, count, 2).reshape(-1, 2))
        all_strides.append(torch.full((height * width * count, 1), float(stride)).to(anchors))
        all_anchors.append(level_anchors.expand(height * width, count, 2).reshape(-1, 2))
        starts.append(starts[-1] + height * width * count)
    level_shapes, level_starts, level_strides = (
        torch.tensor(values, device=anchors.device) for values in (shapes, starts[:-1], strides)
    )
    return YOLOGrid(
        torch.cat(corners), torch.cat(all_strides), torch.cat(all_anchors), level_shapes, level_starts, level_strides, anchors
    )  # fmt: skip


def flatten_predictions(predictions: Sequence[Tensor], anchors_per_level: int) -> Tensor:
    """Predictions (N, anchors * (5 + K), h, w) of all levels as (N, A, 5 + K), in the order of the grid."""
    flat = []
    for prediction in predictions:
        num, channels = prediction.shape[:2]
        flat.append(prediction.permute(0, 2, 3, 1).reshape(num, -1, channels // anchors_per_level))
    return torch.cat(flat, 1)


def decode(raw: Tensor, corners: Tensor, strides: Tensor, anchors: Tensor) -> Tensor:
    """The boxes (..., 4), x1, y1, x2, y2 in pixels, of the numbers tx, ty, tw, th in `raw` (..., 4 or more).

    The center is corner + sigmoid(t) * stride, width and height are anchor * exp(t).
    """
    center = corners + raw[..., 0:2].sigmoid() * strides
    half = anchors * raw[..., 2:4].clamp(max=MAX_LOG_SCALE).exp() / 2
    return torch.cat([center - half, center + half], -1)
