"""Residual functions (basic, bottleneck, and their pre-activation forms), the blocks that join one with a shortcut, and stages.

A branch is the residual function F(x). Its classes take (N, in_channels, H, W) to (N, channels, ceil(H/stride), ceil(W/stride)).
In a pre-activation branch the normalization and activation precede each convolution (He et al. 2016); such a branch begins at
its first convolution, since the activation before it belongs to the block, whose shortcut may read it too.

A block joins a branch with a shortcut. It has the attributes `channels` (of its output) and `stride`.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from resnets.models.layers import Activation, Attention, Convolution, Norm


class BasicBranch(nn.Module):
    """3x3, norm, act, 3x3, norm, attention (He et al. 2015, figure 5 left)."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, conv: Convolution, norm: Norm, act: Activation,
        attention: Attention, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride, bias=bias)
        self.norm1 = norm(channels)
        self.act1 = act()
        self.conv2 = conv(channels, channels, 3, bias=bias)
        self.norm2 = norm(channels)
        self.attention = attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        return self.attention(self.norm2(self.conv2(x)))


class BottleneckBranch(nn.Module):
    """1x1, norm, act, 3x3, norm, act, 1x1, norm, attention (He et al. 2015, figure 5 right).

    `stride_1x1` puts the stride on the first 1x1 (He et al. 2015, "V1"); otherwise it is on the 3x3 (fb.resnet.torch and
    torchvision, "V1.5"). The parameters are the same, the function is not. `groups` is the cardinality of ResNeXt.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, mid_channels: int, groups: int, stride_1x1: bool,
        conv: Convolution, norm: Norm, act: Activation, attention: Attention, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        first, second = (stride, 1) if stride_1x1 else (1, stride)
        self.conv1 = conv(in_channels, mid_channels, 1, first, bias=bias)
        self.norm1 = norm(mid_channels)
        self.act1 = act()
        self.conv2 = conv(mid_channels, mid_channels, 3, second, groups=groups, bias=bias)
        self.norm2 = norm(mid_channels)
        self.act2 = act()
        self.conv3 = conv(mid_channels, channels, 1, bias=bias)
        self.norm3 = norm(channels)
        self.attention = attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.attention(self.norm3(self.conv3(x)))


class PreActBasicBranch(nn.Module):
    """3x3, norm, act, dropout, 3x3, attention. The dropout between the convolutions is that of Wide ResNet."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, conv: Convolution, norm: Norm, act: Activation,
        attention: Attention, bias: bool, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride, bias=bias)
        self.norm2 = norm(channels)
        self.act2 = act()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = conv(channels, channels, 3, bias=bias)
        self.attention = attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.norm2(self.conv1(x)))
        return self.attention(self.conv2(self.dropout(x)))


class PreActBottleneckBranch(nn.Module):
    """1x1, norm, act, 3x3, norm, act, 1x1, attention.

    `stride_1x1` as in resnet-pre-act.lua (KaimingHe/resnet-1k-layers); otherwise the stride is on the 3x3 (timm, Keras).
    `outer_bias` gives the last 1x1 a bias, as Keras Applications' V2 has it.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, mid_channels: int, groups: int, stride_1x1: bool,
        conv: Convolution, norm: Norm, act: Activation, attention: Attention, bias: bool, outer_bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        first, second = (stride, 1) if stride_1x1 else (1, stride)
        self.conv1 = conv(in_channels, mid_channels, 1, first, bias=bias)
        self.norm2 = norm(mid_channels)
        self.act2 = act()
        self.conv2 = conv(mid_channels, mid_channels, 3, second, groups=groups, bias=bias)
        self.norm3 = norm(mid_channels)
        self.act3 = act()
        self.conv3 = conv(mid_channels, channels, 1, bias=outer_bias)
        self.attention = attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.norm2(self.conv1(x)))
        x = self.act3(self.norm3(self.conv2(x)))
        return self.attention(self.conv3(x))


class SingleConvBranch(nn.Module):
    """3x3, norm, act: the one layer of a highway block."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = conv(in_channels, channels, 3, stride, bias=bias)
        self.norm = norm(channels)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class PooledConvBranch(nn.Module):
    """3x3, max pooling over `stride` x `stride` positions, norm, act: (N, in, H, W) -> (N, out, H // stride, W // stride).

    The first layers of a group in Jordan 2024 (94% on CIFAR-10 in 3.29 Seconds on a Single GPU).
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, conv: Convolution, norm: Norm, act: Activation, bias: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = conv(in_channels, channels, 3, bias=bias)
        self.pool = nn.MaxPool2d(stride)
        self.window = stride
        self.norm = norm(channels)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.pool(self.conv(x))))


class Block(nn.Module):
    """Base class of the blocks: output `channels` and `stride`."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride


class ResidualBlock(Block):
    """y = act(branch(x) + shortcut(x)): He et al. 2015, equation 1 and figure 2."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: Activation, channels: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.branch = branch
        self.shortcut = shortcut
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + self.shortcut(x))


class PreActBlock(Block):
    """y = branch(act(norm(x))) + shortcut(x): He et al. 2016, figure 4e; nothing follows the addition.

    With `shared`, the shortcut reads the activation that the branch reads: in the first block of a network and where the
    shape changes (He et al. 2016, appendix; resnet-pre-act.lua). The first block after a stem that ends in norm and act
    has `norm=None`.
    """

    def __init__(
        self, in_channels: int, branch: nn.Module, shortcut: nn.Module, norm: Norm | None, act: Activation,
        channels: int, stride: int, *, shared: bool,
    ) -> None:  # fmt: skip
        super().__init__(channels, stride)
        self.norm = norm(in_channels) if norm else nn.Identity()
        self.act = act() if norm else nn.Identity()
        self.branch = branch
        self.shortcut = shortcut
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        active = self.act(self.norm(x))
        return self.branch(active) + self.shortcut(active if self.shared else x)


class PlainBlock(Block):
    """y = act(branch(x)): no shortcut, as in the plain networks of He et al. 2015."""

    def __init__(self, branch: nn.Module, act: Activation, channels: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.branch = branch
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x))


class HighwayBlock(Block):
    """y = T(x) * branch(x) + (1 - T(x)) * x with T(x) = sigmoid(W x + b): Srivastava et al. 2015, equation 3.

    `gate_bias` is the initial value of b. It is negative, so that a deep network starts by passing its input through.
    """

    def __init__(self, branch: nn.Module, gate: nn.Conv2d, gate_bias: float, channels: int) -> None:
        super().__init__(channels, stride=1)
        self.branch = branch
        self.gate = gate
        self.sigmoid = nn.Sigmoid()
        self.gate_bias = gate_bias

    def forward(self, x: Tensor) -> Tensor:
        transform = self.sigmoid(self.gate(x))  # (N, C, H, W)
        return transform * self.branch(x) + (1 - transform) * x


def _window(block: Block) -> int:
    """The side of the window of its pooling, 1 for a block without one."""
    branch = getattr(block, "branch", None)
    return branch.window if isinstance(branch, PooledConvBranch) else 1


class Stage(nn.Sequential):
    """Blocks named block1, block2, …; its `channels` and its `stride` are those of its blocks.

    `min_size` is the least height and width of its input, of which pooling needs whole windows.

    With `checkpointing`, a block in training keeps its input only, and is computed again in the backward pass (Chen et al. 2016,
    Training Deep Nets with Sublinear Memory Cost). Gradients and running statistics are the same.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__(OrderedDict((f"block{i}", block) for i, block in enumerate(blocks, start=1)))
        self.channels = blocks[-1].channels
        self.stride = 1
        for block in blocks:
            self.stride *= block.stride
        self.min_size = math.prod(_window(block) for block in blocks)
        self.checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting() and self.checkpointing and torch.is_grad_enabled():
            return self._checkpointed(x)
        for block in self:
            x = block(x)
        return x

    @torch.jit.unused
    def _checkpointed(self, x: Tensor) -> Tensor:
        for block in self:
            x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block))
        return x


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the first computation of a block and for the second one."""
    return nullcontext(), _kept_statistics(block)


@contextmanager
def _kept_statistics(block: nn.Module) -> Iterator[None]:
    """Normalize by the statistics of the batch, as training does, without updating the running ones a second time."""
    norms = [each for each in block.modules() if isinstance(each, _BatchNorm) and each.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]  # type: ignore[union-attr]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]
