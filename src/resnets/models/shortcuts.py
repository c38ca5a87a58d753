"""Shortcuts of a residual block, options A to D. Each takes (N, in, H, W) to (N, out, ceil(H/stride), ceil(W/stride)).

The letters are those of He et al. 2015, section 4.1: A pads with zeros, B projects where the shape changes, C projects
everywhere. D is the pooled projection of He et al. 2018 (Bag of Tricks, "ResNet-D").
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from resnets.models.layers import Convolution, Norm


class ZeroPad(nn.Module):
    """Option A: every `stride`-th row and column, and channels of zeros for those that are new. No parameters.

    fb.resnet.torch appends the zeros after the channels (`both_sides=False`); other ports, such as
    akamaster/pytorch_resnet_cifar10, put half of them before. The numbers of parameters are the same.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, both_sides: bool = False) -> None:
        super().__init__()
        new = out_channels - in_channels
        self.stride = stride
        self.before = new // 2 if both_sides else 0
        self.after = new - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, before={self.before}, after={self.after}"


class Projection(nn.Sequential):
    """Options B and C: a 1x1 convolution at the branch's stride, normalized unless `norm` is None (pre-activation)."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, norm: Norm | None, conv: Convolution, bias: bool
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = conv(in_channels, out_channels, 1, stride, bias=bias)
        if norm is not None:
            layers["norm"] = norm(out_channels)
        super().__init__(layers)


class PooledProjection(nn.Sequential):
    """Option D: 2x2 average pooling and a 1x1 convolution, so that no position is dropped."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, norm: Norm | None, conv: Convolution, bias: bool
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if stride > 1:
            layers["pool"] = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
        layers["conv"] = conv(in_channels, out_channels, 1, bias=bias)
        if norm is not None:
            layers["norm"] = norm(out_channels)
        super().__init__(layers)


class StridedPool(nn.MaxPool2d):
    """Every `stride`-th row and column of the input, as Keras Applications' V2 has it in the last block of a stack."""

    def __init__(self, stride: int) -> None:
        super().__init__(kernel_size=1, stride=stride)


class Dropped(nn.Module):
    """A shortcut with dropout: figure 2f of He et al. 2016, Identity Mappings in Deep Residual Networks.

    Each value is zero with probability `p` in training, and multiplied by 1 - p in evaluation. Nothing is divided by 1 - p in
    training, as `nn.Dropout` does it: the paper says that its dropout scales the shortcut by 1 - p in expectation.
    """

    def __init__(self, shortcut: nn.Module, p: float) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut(x)
        return (1 - self.p) * (F.dropout(x, self.p) if self.training else x)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
