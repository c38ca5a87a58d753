"""What a block multiplies its shortcut and its branch by, measured."""

import torch
from torch import Tensor, nn

from resnets.models.blocks import Block
from resnets.studies.measurements.edit_blocks import with_parts


class Constant(nn.Module):
    """A branch that gives one number, which is added to any shape."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return x.new_full((), self.value)


@torch.no_grad()
def block_factors(block: Block) -> tuple[float | None, float]:
    """a and b of y = act(a * x + b * branch(x)), a block that keeps the shape, with the weights of its gate at zero.

    a is None if the shortcut does not multiply all of x by one number. The block is changed.
    """
    block = block.double().eval()
    if hasattr(block, "gate"):
        nn.init.zeros_(block.gate.weight)  # type: ignore[union-attr, arg-type]
    x = torch.arange(1.0, block.channels + 1, dtype=torch.float64)[None, :, None, None].expand(1, -1, 3, 3)
    without, with_one = (with_parts(block, branch=Constant(value))(x) for value in (0.0, 1.0))
    ratio = (without / x).expand_as(x)
    scale = (with_one - without).max()
    constant = float(ratio.max() - ratio.min()) < 1e-12
    return float(ratio.mean()) if constant else None, float(scale)
