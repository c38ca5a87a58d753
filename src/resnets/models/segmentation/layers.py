"""Layers that several decoders have."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from resnets.models import layers


def conv_norm_act(
    in_channels: int, out_channels: int, kernel_size: int, *, rate: int = 1, separable: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size, with dilation `rate`, batch normalization and ReLU.

    With `separable`, a convolution of each channel for itself and a 1x1 without a layer between them (Chen et al. 2018).
    """
    groups = in_channels if separable else 1
    conv: nn.Module = nn.Conv2d(
        in_channels, in_channels if separable else out_channels, kernel_size, padding=kernel_size // 2 * rate,
        dilation=rate, groups=groups, bias=False,
    )  # fmt: skip
    if separable:
        pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        conv = nn.Sequential(OrderedDict(depthwise=conv, pointwise=pointwise))
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels), act=layers.relu()))


def resize(x: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class PooledNorm(nn.BatchNorm2d):
    """Batch normalization of averages over a whole image, of which one image has a single value.

    In train mode a batch of one image has no variance: it is normalized by the statistics of the batches before, which stay as
    they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)
