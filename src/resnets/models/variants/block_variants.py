"""Blocks that He et al. 2016, Identity Mappings in Deep Residual Networks, compares with its own: other shortcuts (section 3,
table 1) and other positions of norm and activation (section 4, table 2).

Tensors have the names that they have in `blocks.ResidualBlock`. `shortcut` is the identity, or changes the shape as in
`shortcuts`.
"""

import torch
from torch import Tensor, nn

from resnets.models.blocks import Block
from resnets.models.layers import Activation, Norm


class ScaledBlock(Block):
    """y = act(branch_scale * branch(x) + shortcut_scale * shortcut(x)): constant scaling, figure 2b, with fixed factors."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, act: Activation, channels: int, stride: int, *,
        shortcut_scale: float, branch_scale: float,
    ) -> None:  # fmt: skip
        super().__init__(channels, stride)
        self.branch = branch
        self.shortcut = shortcut
        self.act = act()
        self.shortcut_scale = shortcut_scale
        self.branch_scale = branch_scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch_scale * self.branch(x) + self.shortcut_scale * self.shortcut(x))

    def extra_repr(self) -> str:
        return f"shortcut_scale={self.shortcut_scale:g}, branch_scale={self.branch_scale:g}"


class GatedBlock(Block):
    """y = act(g * branch(x) + (1 - g) * shortcut(x)) with g = sigmoid(W x + b): exclusive gating, figure 2c.

    The paper's gate is a 1x1 convolution. Here it has the stride of the block, since the paper does not say how it is where the
    shape changes. `gate_bias` is the initial value of b: at -6 (its best) the block starts as its shortcut, its branch at 1/400.
    """

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, gate: nn.Conv2d, gate_bias: float, act: Activation, channels: int,
        stride: int,
    ) -> None:  # fmt: skip
        super().__init__(channels, stride)
        self.branch = branch
        self.shortcut = shortcut
        self.gate = gate
        self.sigmoid = nn.Sigmoid()
        self.gate_bias = gate_bias
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        gate = self.sigmoid(self.gate(x))  # (N, C, ceil(H/stride), ceil(W/stride))
        return self.act(gate * self.branch(x) + (1 - gate) * self.shortcut(x))


class GatedShortcutBlock(GatedBlock):
    """y = act(branch(x) + (1 - g) * shortcut(x)) with g as of `GatedBlock`: shortcut-only gating, figure 2d.

    A negative `gate_bias` starts it as a residual block.
    """

    def forward(self, x: Tensor) -> Tensor:
        gate = self.sigmoid(self.gate(x))
        return self.act(self.branch(x) + (1 - gate) * self.shortcut(x))


class NormAfterBlock(Block):
    """y = act(norm(branch(x) + shortcut(x))): norm after the addition, figure 4b. The branch ends in its last convolution."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, norm: Norm, act: Activation, channels: int, stride: int
    ) -> None:  # fmt: skip
        super().__init__(channels, stride)
        self.branch = branch
        self.shortcut = shortcut
        self.norm = norm(channels)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.branch(x) + self.shortcut(x)))


class ActBeforeBlock(Block):
    """y = act(branch(x)) + shortcut(x): activation before the addition, figure 4c; no value of a shortcut ever decreases."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: Activation, channels: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.branch = branch
        self.act = act()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x)) + self.shortcut(x)


class ActOnlyBlock(Block):
    """y = branch(act(x)) + shortcut(x): activation without norm before each convolution, figure 4d.

    The branch is that of a `ResidualBlock`, whose last norm comes before the addition, and nothing follows the addition. `act`
    must not write into its input, which the shortcut reads. The shortcut reads x where the shape changes, too; the paper does not
    say.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: Activation, channels: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.act = act()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(self.act(x)) + self.shortcut(x)


class BatchStochasticDepth(nn.Module):
    """Stochastic depth as Huang et al. 2016, Deep Networks with Stochastic Depth, has it: a branch is dropped for a whole batch.

    In training, with b = 0 with probability `rate` and else 1, drawn once for a batch (equation 2), and in evaluation
    (equation 5):

        y = act(b * branch(x) + shortcut(x))            y = act((1 - rate) * branch(x) + shortcut(x))

    A dropped branch is not computed, neither forward nor backward, which is the time that the method saves. Its parameters have
    gradients of zero, so that momentum and weight decay go on, as in the authors' code, and DDP finds a gradient of each; every
    rank draws for its own images. `torchvision.ops.StochasticDepth` drops for each image apart, divides by 1 - rate in training,
    and computes all branches: the expected values are in the same proportion, the experiment is another one.
    """

    def __init__(self, branch: nn.Module, rate: float) -> None:
        super().__init__()
        self.branch = branch
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return (1 - self.rate) * self.branch(x)
        # Drawn on the CPU: a number of a GPU would have to be waited for.
        return self._nothing() if float(torch.rand(1, device="cpu")) < self.rate else self.branch(x)

    @torch.jit.unused
    def _nothing(self) -> Tensor:
        """0, of which the gradient of each parameter is 0."""
        return torch.stack([(0 * parameter).sum() for parameter in self.branch.parameters()]).sum()

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"
