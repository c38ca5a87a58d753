"""Convolution, pooling and normalization layers, with PyTorch's or TensorFlow's padding."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]  # channels -> normalization
Activation = Callable[[], nn.Module]
Convolution = Callable[..., nn.Conv2d]  # as `conv` below
Attention = Callable[[int], nn.Module]  # channels -> attention, which keeps the shape

relu: Activation = partial(nn.ReLU, inplace=True)
gelu: Activation = nn.GELU


def conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution padded by half its kernel on every side: (N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=bias)


def batch_norm(eps: float, momentum: float) -> Norm:
    """Batch normalization; `momentum` is the weight of the new batch, as in torch: one minus Keras' momentum."""
    return partial(nn.BatchNorm2d, eps=eps, momentum=momentum)


class ShiftBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization with a shift and without a scale: `weight` is a buffer of ones."""

    def __init__(self, num_features: int, *, eps: float, momentum: float) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        del self.weight
        self.register_buffer("weight", torch.ones(num_features))

    def forward(self, input: Tensor) -> Tensor:
        # As torch's, without its check of the shape, which torch.fx cannot trace in a class from outside of torch.
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        assert self.momentum is not None
        statistics = (self.running_mean, self.running_var)
        return F.batch_norm(input, *statistics, self.weight, self.bias, self.training, self.momentum, self.eps)


def shift_batch_norm(eps: float, momentum: float) -> Norm:
    """`batch_norm` without a scale."""
    return partial(ShiftBatchNorm2d, eps=eps, momentum=momentum)


def no_norm(channels: int) -> nn.Module:
    """The identity in place of a normalization."""
    return nn.Identity()


def pad_same(x: Tensor, kernel_size: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad (N, C, H, W) as TensorFlow's `padding="same"` does: a window at `stride` then gives ceil(H/stride) x ceil(W/stride).

    An odd row or column is added below and to the right. The window must be 1x1 or not smaller than the stride. The amounts
    are computed without a comparison, so that a symbolic trace can follow them.
    """
    if kernel_size == 1:
        return x
    height = kernel_size - 1 - (x.shape[-2] - 1) % stride  # rows to add: (ceil(H/stride) - 1) * stride + k - H
    width = kernel_size - 1 - (x.shape[-1] - 1) % stride
    top, left = height // 2, width // 2
    return F.pad(x, [left, width - left, top, height - top], value=value)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's `padding="same"`, which is asymmetric at stride 2."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(pad_same(x, self.kernel_size[0], self.stride[0]), self.weight, self.bias)


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling with TensorFlow's `padding="same"`: the padding is minus infinity, so it is never the maximum."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__(kernel_size, stride)
        self.window, self.step = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(pad_same(x, self.window, self.step, -math.inf), self.window, self.step)


def same_conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """`conv` with TensorFlow's `padding="same"`."""
    return SameConv2d(in_channels, out_channels, kernel_size, stride, groups=groups, bias=bias)
