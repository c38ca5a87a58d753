"""ASPP: a map seen through convolutions of several dilations at once (Chen et al. 2017, section 3.3)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnets.models import layers
from resnets.models.segmentation.layers import PooledNorm, conv_norm_act


class ASPP(nn.Module):
    """A 1x1 convolution, three 3x3 of different dilation and the average of the whole map, joined by a 1x1 convolution.

    Args:
        in_channels: of the map.
        channels: of each part and of the result.
        rates: dilation of the 3x3 convolutions.
        separable: whether these are divided into a convolution of each channel and a 1x1.
        dropout: probability of each value of the result.
    """

    def __init__(
        self, in_channels: int, channels: int, *, rates: Sequence[int], separable: bool, dropout: float
    ) -> None:
        super().__init__()
        dilated = [conv_norm_act(in_channels, channels, 3, rate=rate, separable=separable) for rate in rates]
        self.convs = nn.ModuleList([conv_norm_act(in_channels, channels, 1), *dilated])
        self.average = nn.Sequential(
            OrderedDict[str, nn.Module](
                pool=nn.AdaptiveAvgPool2d(1), conv=nn.Conv2d(in_channels, channels, 1, bias=False),
                norm=PooledNorm(channels), act=layers.relu(),
            )
        )  # fmt: skip
        self.project = conv_norm_act((len(self.convs) + 1) * channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        parts = [conv(x) for conv in self.convs]
        parts.append(self.average(x).expand_as(parts[0]))
        return self.dropout(self.project(torch.cat(parts, 1)))
