"""Attention at the end of a branch: squeeze-and-excitation (SE) and CBAM weight the output before the addition."""

import torch
from torch import Tensor, nn

from resnets.models.layers import conv, relu


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: x * sigmoid(W2 relu(W1 mean(x))), a weight for each channel.

    Hu et al. 2018, reduction 16. Fewer than eight hidden channels, or a number that eight does not divide, are rounded as
    timm rounds them; at the paper's widths (256 and more) nothing is rounded.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(8, (channels // reduction + 4) // 8 * 8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = conv(channels, hidden, 1, bias=True)
        self.act = relu()
        self.expand = conv(hidden, channels, 1, bias=True)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.sigmoid(self.expand(self.act(self.reduce(self.pool(x)))))  # (N, C, 1, 1)
        return x * weight


class CBAM(nn.Module):
    """Convolutional block attention: first a weight for each channel, then one for each position.

    Woo et al. 2018. Channels: sigmoid(mlp(mean(x)) + mlp(max(x))), reduction 16. Positions: a 7x7 convolution over the mean
    and the maximum of the channels, normalized as in the authors' code (Jongchan/attention-module), then a sigmoid.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.maximum = nn.AdaptiveMaxPool2d(1)
        hidden = max(channels // reduction, 1)
        self.reduce = conv(channels, hidden, 1, bias=True)
        self.act = nn.ReLU()  # called twice; not in place, since its input is used again
        self.expand = conv(hidden, channels, 1, bias=True)
        self.spatial = conv(2, 1, 7)
        self.norm = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        average = self.expand(self.act(self.reduce(self.average(x))))
        maximum = self.expand(self.act(self.reduce(self.maximum(x))))
        x = x * self.sigmoid(average + maximum)  # (N, C, 1, 1)
        statistics = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), dim=1)  # (N, 2, H, W)
        return x * self.sigmoid(self.norm(self.spatial(statistics)))  # (N, 1, H, W)
