"""RegionPooling: the features of each region, of one size, from the level of a pyramid that fits the region's size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper


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
        return roi_align(
            level_map.to(regions.dtype), regions, (self.size, self.size), 1 / stride,
            sampling_ratio=-1 if self.aligned else 2, aligned=self.aligned,
        )  # fmt: skip
