"""The neck and the heads of YOLOv3: sets of 1x1 and 3x3 convolutions at three scales (Redmon and Farhadi 2018, section 2.3)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnets.models import layers


class ConvNormLeaky(nn.Sequential):
    """A convolution without bias, batch normalization and leaky ReLU of slope 0.1: the layer of darknet."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int) -> None:
        super().__init__(
            OrderedDict(
                conv=layers.conv(in_channels, channels, kernel_size),
                norm=nn.BatchNorm2d(channels),
                act=nn.LeakyReLU(0.1, inplace=True),
            )
        )


class Scale(nn.Module):
    """One scale: five convolutions, whose result goes on to the next scale, and the head of two.

    Args:
        in_channels: of the feature map, with the upsampled one before it.
        width: channels of the 1x1 convolutions; the 3x3 have twice as many.
        outputs: channels of the prediction: for each anchor x, y, width, height, objectness and one for each class.
    """

    def __init__(self, in_channels: int, width: int, outputs: int) -> None:
        super().__init__()
        self.set = nn.Sequential(
            ConvNormLeaky(in_channels, width, 1),
            ConvNormLeaky(width, 2 * width, 3),
            ConvNormLeaky(2 * width, width, 1),
            ConvNormLeaky(width, 2 * width, 3),
            ConvNormLeaky(2 * width, width, 1),
        )
        self.tip = ConvNormLeaky(width, 2 * width, 3)
        self.prediction = nn.Conv2d(2 * width, outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.set(x)  # (N, width, h, w)
        return x, self.prediction(self.tip(x))  # (N, outputs, h, w)


class YOLONeck(nn.Module):
    """Feature maps of rising stride -> predictions, each of the size of its map.

    From the map of the largest stride on, the result of each scale is reduced by a 1x1 convolution, upsampled to the size of
    the next map and concatenated before it.

    Args:
        channels: of the feature maps, from the smallest stride to the largest.
        width: channels of the 1x1 convolutions at the largest stride, 512 in the paper; each scale has half of the one before.
        outputs: channels of each prediction.
    """

    def __init__(self, channels: Sequence[int], width: int, outputs: int) -> None:
        super().__init__()
        scales: list[Scale] = []
        routes: list[ConvNormLeaky] = []
        for level, in_channels in enumerate(reversed(channels)):
            scale_width, route_width = width >> level, width >> (level + 1)
            scales.append(Scale(in_channels + (scale_width if level else 0), scale_width, outputs))
            if level + 1 < len(channels):
                routes.append(ConvNormLeaky(scale_width, route_width, 1))
        self.scales = nn.ModuleList(scales)  # from the largest stride to the smallest
        self.routes = nn.ModuleList(routes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity="leaky_relu")

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
