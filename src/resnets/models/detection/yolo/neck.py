"""The neck and the heads of YOLOv3: sets of 1x1 and 3x3 convolutions at three scales (Redmon and Farhadi 2018, section 2.3)."""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.models import layers

OBJECT_PRIOR = 0.01  # the objectness that a fresh network predicts everywhere


class ConvNormLeaky(nn.Sequential):
    """A convolution without bias, batch normalization and leaky ReLU of slope 0.1: the layer of darknet."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int) -> None:
        conv = layers.conv(in_channels, channels, kernel_size)
        if not conv.weight.is_meta:
            nn.init.kaiming_normal_(conv.weight, a=0.1, nonlinearity="leaky_relu")
        act = nn.LeakyReLU(0.1, inplace=True)
        super().__init__(OrderedDict[str, nn.Module](conv=conv, norm=nn.BatchNorm2d(channels), act=act))


class Scale(nn.Module):
    """One scale: five convolutions, whose result goes on to the next scale, and the head of two.

    Args:
        in_channels: of the feature map, with the upsampled one before it.
        width: channels of the 1x1 convolutions; the 3x3 have twice as many.
        num_anchors: of each cell.
        num_classes: K; the prediction has 5 + K channels for each anchor: x, y, width, height, objectness, classes.
    """

    def __init__(self, in_channels: int, width: int, num_anchors: int, num_classes: int) -> None:
        super().__init__()
        self.set = nn.Sequential(
            ConvNormLeaky(in_channels, width, 1),
            ConvNormLeaky(width, 2 * width, 3),
            ConvNormLeaky(2 * width, width, 1),
            ConvNormLeaky(width, 2 * width, 3),
            ConvNormLeaky(2 * width, width, 1),
        )
        self.tip = ConvNormLeaky(width, 2 * width, 3)
        self.prediction = nn.Conv2d(2 * width, num_anchors * (5 + num_classes), 1)
        if not self.prediction.weight.is_meta:
            _initialize(self.prediction, num_anchors, num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.set(x)  # (N, width, h, w)
        return x, self.prediction(self.tip(x))  # (N, num_anchors * (5 + K), h, w)


class YOLONeck(nn.Module):
    """Feature maps of rising stride -> predictions, each of the size of its map.

    From the map of the largest stride on, the result of each scale is reduced by a 1x1 convolution, upsampled to the size of
    the next map and concatenated before it.

    Args:
        channels: of the feature maps, from the smallest stride to the largest.
        width: channels of the 1x1 convolutions at the largest stride, 512 in the paper; each scale has half of the one before.
        num_anchors: of each cell.
        num_classes: K.
    """

    def __init__(self, channels: Sequence[int], width: int, num_anchors: int, num_classes: int) -> None:
        super().__init__()
        scales: list[Scale] = []
        routes: list[ConvNormLeaky] = []
        for level, in_channels in enumerate(reversed(channels)):
            scale_width, route_width = width >> level, width >> (level + 1)
            in_channels += scale_width if level else 0
            scales.append(Scale(in_channels, scale_width, num_anchors, num_classes))
            if level + 1 < len(channels):
                routes.append(ConvNormLeaky(scale_width, route_width, 1))
        self.scales = nn.ModuleList(scales)  # from the largest stride to the smallest
        self.routes = nn.ModuleList(routes)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        predictions: list[Tensor] = []
        x = maps[-1]
        for level, scale in enumerate(self.scales):
            x, prediction = scale(x)
            predictions.append(prediction)
            if level < len(self.routes):
                lateral = maps[-2 - level]
                # To the lateral's size: a stem that does not pad leaves maps that are not twice as large as the next.
                x = F.interpolate(self.routes[level](x), size=lateral.shape[-2:], mode="nearest")
                x = torch.cat([x, lateral], 1)
        return predictions[::-1]


def _initialize(prediction: nn.Conv2d, num_anchors: int, num_classes: int) -> None:
    """Small weights, and biases with which a fresh network finds hardly any object (Lin et al. 2017, section 4.1)."""
    nn.init.normal_(prediction.weight, std=0.01)
    bias = torch.zeros(num_anchors, 5 + num_classes)
    bias[:, 4] = math.log(OBJECT_PRIOR / (1 - OBJECT_PRIOR))
    bias[:, 5:] = -math.log(max(num_classes, 2) - 1)  # a probability of 1 / K
    prediction.bias = nn.Parameter(bias.flatten())
