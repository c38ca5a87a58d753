"""RegionPooling: the features of each region, of one size, from the level of a pyramid that fits the region's size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

# Cells of the largest map that is pooled by matrix products in training. With 96 channels and 128 regions an image they are
# faster up to here also on a loaded machine (benchmarks/pooling.py).
MAX_CELLS = 48 * 48


class RegionPooling(nn.Module):
    """RoIAlign on the level that equation 1 of Lin et al. 2017 chooses: a region of 224x224 pixels is on stride 16.

    It is torchvision's `MultiScaleRoIAlign` with the exact strides; torchvision guesses them from the first batch, where
    they are wrong for images much smaller than their padding.

    Args:
        strides: of the maps that are pooled.
        size: height and width of a pooled region.
        aligned: ROIAlignV2 (half a pixel to the left and up, as many samples as a bin has pixels) in place of torchvision's
            2x2 samples for each bin.
    """

    def __init__(self, strides: Sequence[int], size: int, *, aligned: bool) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.size = size
        self.aligned = aligned
        levels = [stride.bit_length() - 1 for stride in strides]
        self.level_of = LevelMapper(levels[0], levels[-1])

    def forward(self, maps: Sequence[Tensor], boxes: list[Tensor]) -> Tensor:
        """Maps (N, C, h, w) and the boxes of each image, (n, 4) in pixels -> (sum of all n, C, size, size)."""
        index = [torch.full_like(box[:, :1], i) for i, box in enumerate(boxes)]
        regions = torch.cat([torch.cat(index), torch.cat(boxes)], 1)
        if len(maps) == 1:
            return self._pool(maps[0], regions, self.strides[0])
        levels = self.level_of(boxes)
        pooled = regions.new_zeros(len(regions), maps[0].shape[1], self.size, self.size)
        for level, (level_map, stride) in enumerate(zip(maps, self.strides, strict=True)):
            here = torch.where(levels == level)[0]
            pooled[here] = self._pool(level_map, regions[here], stride)
        return pooled

    def _pool(self, level_map: Tensor, regions: Tensor, stride: int) -> Tensor:
        # In the precision of the boxes: bfloat16 has 8 bits, too few for a position.
        level_map = level_map.to(regions.dtype)
        if not self.aligned and level_map.requires_grad and level_map[0, 0].numel() <= MAX_CELLS:
            with torch.autocast(level_map.device.type, enabled=False):  # products of matrices would be in bfloat16
                return pool_by_products(level_map, regions, self.size, 1 / stride)
        return roi_align(
            level_map, regions, (self.size, self.size), 1 / stride,
            sampling_ratio=-1 if self.aligned else 2, aligned=self.aligned,
        )  # fmt: skip


def pool_by_products(level_map: Tensor, regions: Tensor, size: int, scale: float) -> Tensor:
    """`torchvision.ops.roi_align(..., sampling_ratio=2, aligned=False)` as matrix products, up to rounding.

    Bilinear interpolation is separable, so a pooled region is R M C, where R weighs the rows of the map and C its columns. On
    small maps the gradient takes a small part of the time of torchvision's, which adds to single cells of the map one after the
    other; on a GPU it does not depend on the order of these additions.

    Args:
        level_map: (N, C, h, w).
        regions: (K, 5): the index of the image, and the box in pixels of the image.
        scale: pixels of the map for one of the image.

    Returns:
        (K, C, size, size)
    """
    channels, height, width = level_map.shape[1:]
    pooled = level_map.new_zeros(len(regions), size, size, channels)
    columns = _bin_weights(regions[:, 1] * scale, regions[:, 3] * scale, size, width)  # (K, size, w)
    rows = _bin_weights(regions[:, 2] * scale, regions[:, 4] * scale, size, height)  # (K, size, h)
    for index, image_map in enumerate(level_map.permute(0, 2, 3, 1)):  # (h, w, C)
        here = torch.where(regions[:, 0] == index)[0]
        count = len(here)
        by_column = columns[here].flatten(0, 1) @ image_map  # (h, count * size, C)
        by_region = by_column.view(height, count, size * channels).transpose(0, 1)  # (count, h, size * C)
        pooled[here] = (rows[here] @ by_region).view(count, size, size, channels)
    return pooled.permute(0, 3, 1, 2)


def _bin_weights(start: Tensor, end: Tensor, size: int, cells: int) -> Tensor:
    """The weight of each cell of a side in each bin of regions from `start` to `end`, (K,) -> (K, size, cells).

    A bin is the mean of two samples at a quarter and three quarters of its length; one more than a cell outside counts as 0.
    """
    length = (end - start).clamp(min=1) / size
    offsets = (torch.arange(2 * size, device=start.device, dtype=start.dtype) + 0.5) / 2
    positions = start[:, None] + offsets * length[:, None]  # (K, 2 * size)
    inside = (positions >= -1) & (positions <= cells)
    clamped = positions.clamp(0, cells - 1)[..., None]
    weights = (1 - (clamped - torch.arange(cells, device=start.device)).abs()).clamp(min=0) * inside[..., None]
    return weights.view(len(start), size, 2, cells).mean(2)
