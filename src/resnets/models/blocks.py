"""How shortcut and branch meet. A block is `meet(shortcut(x), branch(x))`, and each class here is one way to meet.

Every block knows its output `channels` and its `stride`.
"""

from torch import Tensor, nn

from resnets.models.layers import Activation, Norm


class Block(nn.Module):
    """What all blocks have in common."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride


class Residual(Block):
    """y = act(shortcut(x) + branch(x)): He et al. 2015, equation 1 and figure 2."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: Activation, channels: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.branch = branch
        self.shortcut = shortcut
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x) + self.shortcut(x))


class PreResidual(Block):
    """y = shortcut(x) + branch(act(norm(x))): He et al. 2016, figure 4e; nothing follows the addition.

    Where `shared`, the shortcut reads the activation that the branch reads: in the first block of a network and where the
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


class Plain(Block):
    """y = act(branch(x)): no shortcut, the paper's plain network."""

    def __init__(self, branch: nn.Module, act: Activation, channels: int, stride: int) -> None:
        super().__init__(channels, stride)
        self.branch = branch
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch(x))


class Highway(Block):
    """y = T(x) * branch(x) + (1 - T(x)) * x with T(x) = sigmoid(W x + b): Srivastava et al. 2015, equation 3.

    `gate_bias` is the first value of b: negative, so that a deep network begins by carrying its input through.
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
