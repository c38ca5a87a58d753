"""U-Net's decoder (Ronneberger et al. 2015) on the maps of a residual network."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.models.segmentation.layers import conv_norm_act


class UNetDecoder(nn.Module):
    """From the last map on: enlarged to the size of the next map, concatenated with it, and two 3x3 convolutions.

    The last block enlarges to the size of the image, where the network has no map of stride 1.

    Args:
        in_channels: of the feature maps.
        strides: of the feature maps.
        channels: of the blocks that end at stride 16, 8, 4, 2 and 1; coarser ones have as many as the first.
        dropout: probability of each channel of the result.
    """

    stride = 1

    def __init__(
        self, in_channels: Sequence[int], strides: Sequence[int], channels: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.channels = in_channels[-1]
        skips = dict(zip(strides[:-1], in_channels[:-1], strict=True))
        blocks: list[UNetBlock] = []
        for stride in sorted({1, *strides[:-1]} - {strides[-1]}, reverse=True):
            out_channels = channels[max(0, len(channels) - stride.bit_length())]
            blocks.append(UNetBlock(self.channels + skips.get(stride, 0), out_channels))
            self.channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        *skips, x = maps
        for number, block in enumerate(self.blocks, start=1):
            skip = skips[-number] if number <= len(skips) else None
            x = block(x, skip, size)
        return self.dropout(x)


class UNetBlock(nn.Module):
    """(N, in_channels - skip channels, h, w) and a map (N, skip channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv_norm_act(in_channels, out_channels, 3)
        self.conv2 = conv_norm_act(out_channels, out_channels, 3)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        x = F.interpolate(x, size=size if skip is None else skip.shape[-2:], mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], 1)
        return self.conv2(self.conv1(x))
