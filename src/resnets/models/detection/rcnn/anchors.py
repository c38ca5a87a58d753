"""The anchors of the region proposal network: boxes of fixed sizes and shapes around each position of its maps."""

from collections.abc import Sequence

import torch
from torch import Tensor

from resnets.models.detection.padding import padded_size

Grid = tuple[int, int]  # rows and columns of a map


def anchors(
    grids: Sequence[Grid],
    strides: Sequence[int],
    sizes: Sequence[Sequence[float]],
    ratios: Sequence[float],
    like: Tensor,
) -> Tensor:
    """Boxes x1 y1 x2 y2 in pixels, (A, 4), by level, then row, column and box; equal to torchvision's `AnchorGenerator`.

    torchvision rounds the boxes, and its strides are the image's size divided by the map's. The published weights depend on
    both, so levels that have been added above the backbone's, where the quotient is not the stride, follow it. The other
    levels have their true strides, which differ only for networks that do not pad their images.

    Args:
        grids: of each level.
        strides: of the backbone's levels, in pixels; the other levels halve the last of these again and again.
        sizes: square roots of the areas on each level, in pixels.
        ratios: heights divided by widths.
        like: its dtype and device are taken.
    """
    height, width = (side * strides[-1] for side in grids[len(strides) - 1])
    boxes = []
    for level, ((rows, columns), level_sizes) in enumerate(zip(grids, sizes, strict=True)):
        known = level < len(strides)
        step_y, step_x = (strides[level],) * 2 if known else (height // rows, width // columns)
        y = torch.arange(rows, device=like.device, dtype=like.dtype) * step_y
        x = torch.arange(columns, device=like.device, dtype=like.dtype) * step_x
        y, x = torch.meshgrid(y, x, indexing="ij")
        corners = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        boxes.append((corners + _around_origin(level_sizes, ratios).to(like)).reshape(-1, 4))
    return torch.cat(boxes)


def _around_origin(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """(ratios * sizes, 4), rounded."""
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    side = torch.tensor(sizes, dtype=torch.float32)[None, :]
    width, height = (1 / root * side).flatten(), (root * side).flatten()
    return (torch.stack([-width, -height, width, height], 1) / 2).round()


def inside_image(
    grids: Sequence[Grid], strides: Sequence[int], per_position: Sequence[int], size: Grid, device: torch.device
) -> Tensor:
    """Bool (A,): False for the anchors that an image of this size has only because its batch has larger images.

    Args:
        grids, strides: as of `anchors`.
        per_position: number of anchors at each position of each level.
        size: height and width of the image, in pixels.
        device: of the result.
    """
    rows, columns = padded_size(*size)  # padded as a batch of its own would be
    inside = []
    for level, (grid, count) in enumerate(zip(grids, per_position, strict=True)):
        if level < len(strides):
            own = [-(-side // strides[level]) for side in (rows, columns)]
        else:
            own = [-(-side // 2) for side in own]
        here = torch.zeros(*grid, count, dtype=torch.bool, device=device)
        here[: own[0], : own[1]] = True
        inside.append(here.flatten())
    return torch.cat(inside)
