"""DeepLabV3+'s decoder (Chen et al. 2018, section 3.1): ASPP of the last map, joined with a map of stride 4."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnets.models.segmentation.decoders.aspp import ASPP
from resnets.models.segmentation.layers import conv_norm_act, resize

SKIP_CHANNELS = 48  # table 1 of the paper


class DeepLabV3PlusDecoder(nn.Module):
    """Its 3x3 convolutions are divided into one of each channel and a 1x1, as in segmentation_models_pytorch.

    Args:
        in_channels: of the feature maps; the first and the last are used.
        stride: of the first map.
        channels, rates, separable, dropout: as of `ASPP`.
        align_corners: how the last map is upsampled to the first.
    """

    def __init__(
        self, in_channels: Sequence[int], stride: int, channels: int, *, rates: Sequence[int], separable: bool,
        dropout: float, align_corners: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.align_corners = align_corners
        self.aspp = ASPP(in_channels[-1], channels, rates=rates, separable=separable, dropout=dropout)
        self.conv = conv_norm_act(channels, channels, 3, separable=True)
        self.skip = conv_norm_act(in_channels[0], SKIP_CHANNELS, 1)
        self.join = conv_norm_act(SKIP_CHANNELS + channels, channels, 3, separable=True)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        skip = self.skip(maps[0])
        x = resize(self.conv(self.aspp(maps[-1])), skip.shape[-2:], align_corners=self.align_corners)
        return self.join(torch.cat([x, skip], 1))
