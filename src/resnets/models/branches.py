"""The residual function F(x) itself: what a block computes beside its shortcut.

After means that normalization and activation follow each convolution (He et al. 2015), Pre that they precede it (He et
al. 2016). A Pre branch begins at its first convolution: the activation before that one belongs to the block, since the
shortcut may read it too. All take (N, in, H, W) to (N, out, ceil(H/stride), ceil(W/stride)).
"""

from collections.abc import Callable

from torch import Tensor, nn

from resnets.models.layers import Activation, Convolution, Norm

Gate = Callable[[int], nn.Module]  # channels -> a module that keeps the shape


class Basic(nn.Module):
    """3x3, norm, act, 3x3, norm, gate."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, conv: Convolution, norm: Norm, act: Activation,
        gate: Gate, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride, bias=bias)
        self.norm1 = norm(channels)
        self.act1 = act()
        self.conv2 = conv(channels, channels, 3, bias=bias)
        self.norm2 = norm(channels)
        self.gate = gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        return self.gate(self.norm2(self.conv2(x)))


class Bottleneck(nn.Module):
    """1x1, norm, act, 3x3, norm, act, 1x1, norm, gate.

    `stride_1x1` puts the stride on the first 1x1 (He et al. 2015, "V1"); otherwise it is on the 3x3 (fb.resnet.torch and
    torchvision, "V1.5"). The parameters are the same, the function is not. `groups` is the cardinality of ResNeXt.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, inner_channels: int, groups: int, stride_1x1: bool,
        conv: Convolution, norm: Norm, act: Activation, gate: Gate, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        first, second = (stride, 1) if stride_1x1 else (1, stride)
        self.conv1 = conv(in_channels, inner_channels, 1, first, bias=bias)
        self.norm1 = norm(inner_channels)
        self.act1 = act()
        self.conv2 = conv(inner_channels, inner_channels, 3, second, groups=groups, bias=bias)
        self.norm2 = norm(inner_channels)
        self.act2 = act()
        self.conv3 = conv(inner_channels, channels, 1, bias=bias)
        self.norm3 = norm(channels)
        self.gate = gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.gate(self.norm3(self.conv3(x)))


class PreBasic(nn.Module):
    """3x3, norm, act, dropout, 3x3, gate. The dropout between the convolutions is that of Wide ResNet."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, conv: Convolution, norm: Norm, act: Activation,
        gate: Gate, bias: bool, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride, bias=bias)
        self.norm2 = norm(channels)
        self.act2 = act()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = conv(channels, channels, 3, bias=bias)
        self.gate = gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.norm2(self.conv1(x)))
        return self.gate(self.conv2(self.dropout(x)))


class PreBottleneck(nn.Module):
    """1x1, norm, act, 3x3, norm, act, 1x1, gate.

    `stride_1x1` as in resnet-pre-act.lua of He's group; otherwise the stride is on the 3x3 (timm, Keras). `outer_bias`
    gives the last 1x1 a bias, as Keras Applications' V2 has it.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, inner_channels: int, groups: int, stride_1x1: bool,
        conv: Convolution, norm: Norm, act: Activation, gate: Gate, bias: bool, outer_bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        first, second = (stride, 1) if stride_1x1 else (1, stride)
        self.conv1 = conv(in_channels, inner_channels, 1, first, bias=bias)
        self.norm2 = norm(inner_channels)
        self.act2 = act()
        self.conv2 = conv(inner_channels, inner_channels, 3, second, groups=groups, bias=bias)
        self.norm3 = norm(inner_channels)
        self.act3 = act()
        self.conv3 = conv(inner_channels, channels, 1, bias=outer_bias)
        self.gate = gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.norm2(self.conv1(x)))
        x = self.act3(self.norm3(self.conv2(x)))
        return self.gate(self.conv3(x))


class Single(nn.Module):
    """3x3, norm, act: the one layer of a highway network."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        *,
        conv: Convolution,
        norm: Norm,
        act: Activation,
        bias: bool,
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, 3, stride, bias=bias)
        self.norm = norm(channels)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))
