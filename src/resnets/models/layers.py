"""Convolution, pooling, normalization and initialization: the small parts that every network here is made of."""

import math
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]  # channels -> normalization
Activation = Callable[[], nn.Module]
Convolution = Callable[..., nn.Conv2d]  # as `conv` below

relu: Activation = partial(nn.ReLU, inplace=True)


def conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution padded by half its kernel on every side: (N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=bias)


def batch_norm(eps: float, momentum: float) -> Norm:
    """Batch normalization; `momentum` is torch's share of the new batch, which is one minus Keras' momentum."""
    return partial(nn.BatchNorm2d, eps=eps, momentum=momentum)


def pad_same(x: Tensor, kernel_size: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad (N, C, H, W) so that a window at `stride` gives ceil(H/stride) x ceil(W/stride), the odd row and column going
    below and to the right, as TensorFlow's `padding="same"` does. The window is 1x1 or not smaller than the stride.

    The amounts are written without a comparison, so that a symbolic trace can follow them.
    """
    if kernel_size == 1:
        return x
    height = kernel_size - 1 - (x.shape[-2] - 1) % stride  # what is missing: (ceil(H/stride) - 1) * stride + k - H
    width = kernel_size - 1 - (x.shape[-1] - 1) % stride
    top, left = height // 2, width // 2
    return F.pad(x, [left, width - left, top, height - top], value=value)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's `padding="same"`, which is lopsided at stride 2 where torch's is not."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(pad_same(x, self.kernel_size[0], self.stride[0]), self.weight, self.bias)


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling with TensorFlow's `padding="same"`: what lies outside never wins."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__(kernel_size, stride)
        self.side, self.shrinks = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(pad_same(x, self.side, self.shrinks, -math.inf), self.side, self.shrinks)


def same_conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """`conv` with TensorFlow's `padding="same"`."""
    return SameConv2d(in_channels, out_channels, kernel_size, stride, groups=groups, bias=bias)


def he_(net: nn.Module) -> None:
    """He et al. 2015 (Delving Deep into Rectifiers): convolutions from N(0, 2 / (k*k*out)), no bias, norms at 1 and 0.

    The variance keeps the size of the gradient (`fan_out`), as fb.resnet.torch, resnet-pre-act.lua and torchvision have
    it. Linear layers keep torch's default, as in torchvision.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def glorot_(net: nn.Module) -> None:
    """Glorot and Bengio 2010, uniform, biases at zero: what Keras does where its user says nothing."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
