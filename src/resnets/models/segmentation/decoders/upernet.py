"""UPerNet's decoder (Xiao et al. 2018, section 3.2): a feature pyramid above PSPNet's averages, all of its levels joined."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.models.segmentation.decoders.pyramid_pooling import SIDES, PyramidPooling
from resnets.models.segmentation.layers import conv_norm_act, resize


class UPerDecoder(nn.Module):
    """Top-down from the last map with its averages; every level is smoothed, and all are joined at the finest.

    Args:
        in_channels: of the feature maps.
        stride: of the finest map.
        channels: of all layers.
        map_norm: whether the channels at each position of the maps are normalized first.
        dropout: probability of each channel of the result.
    """

    def __init__(
        self, in_channels: Sequence[int], stride: int, channels: int, *, map_norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.norms = nn.ModuleList(ChannelNorm(each) if map_norm else nn.Identity() for each in in_channels)
        last = in_channels[-1]
        self.pyramid = PyramidPooling(last, channels, norm_of_one=True, align_corners=False)
        self.bottleneck = conv_norm_act(last + len(SIDES) * channels, channels, 3)
        # From the coarsest of these maps to the finest, as they are called.
        self.lateral = nn.ModuleList(conv_norm_act(each, channels, 1) for each in reversed(in_channels[:-1]))
        self.smooth = nn.ModuleList(conv_norm_act(channels, channels, 3) for _ in in_channels[:-1])
        self.join = conv_norm_act(len(in_channels) * channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        *finer, x = [norm(each) for norm, each in zip(self.norms, maps, strict=True)]
        sums = [self.bottleneck(torch.cat([x, *self.pyramid(x)], 1))]
        for layer, each in zip(self.lateral, reversed(finer), strict=True):
            sums.append(resize(sums[-1], each.shape[-2:]) + layer(each))
        levels = sums[:1] + [layer(each) for layer, each in zip(self.smooth, sums[1:], strict=True)]
        finest = levels[-1].shape[-2:]
        return self.dropout(self.join(torch.cat([resize(each, finest) for each in reversed(levels)], 1)))


class ChannelNorm(nn.LayerNorm):
    """Layer normalization of the channels at each position of (N, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
