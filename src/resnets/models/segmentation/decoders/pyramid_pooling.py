"""Pyramid pooling: averages of a map over 1, 2x2, 3x3 and 6x6 parts (Zhao et al. 2017, section 3.2)."""

from collections import OrderedDict

from torch import Tensor, nn

from resnets.models import layers
from resnets.models.segmentation.layers import PooledNorm, conv_norm_act, resize

SIDES = (1, 2, 3, 6)  # parts of each side


class PyramidPooling(nn.Module):
    """(N, in_channels, h, w) -> the averages, upsampled, each (N, channels, h, w).

    Args:
        in_channels: of the map.
        channels: of the average of each size.
        norm_of_one: whether the average over the whole map is normalized; else its convolution has a bias.
        align_corners: how the averages are upsampled.
    """

    def __init__(self, in_channels: int, channels: int, *, norm_of_one: bool, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        pools: list[nn.Module] = []
        for side in SIDES:
            reduce: nn.Module = conv_norm_act(in_channels, channels, 1)
            if side == 1:
                norm = {"norm": PooledNorm(channels)} if norm_of_one else {}
                conv = nn.Conv2d(in_channels, channels, 1, bias=not norm_of_one)
                reduce = nn.Sequential(OrderedDict[str, nn.Module](conv=conv, **norm, act=layers.relu()))
            pools.append(nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(side), reduce=reduce)))
        self.pools = nn.ModuleList(pools)

    def forward(self, x: Tensor) -> list[Tensor]:
        size = (x.shape[-2], x.shape[-1])
        return [resize(pool(x), size, align_corners=self.align_corners) for pool in self.pools]
