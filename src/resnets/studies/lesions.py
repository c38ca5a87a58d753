"""Networks without one of their blocks, as in Veit et al. 2016, Residual Networks Behave Like Ensembles of Relatively Shallow
Networks, section 4; and plain blocks with a shortcut.
"""

import copy
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from resnets.models.blocks import Block, HighwayBlock, PlainBlock, PreActBlock, ResidualBlock
from resnets.models.resnet import ResNet


class ZeroBranch(nn.Module):
    """A branch that gives 0, which is added to any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


def _with_parts(block: Block, **parts: nn.Module) -> Block:
    """The block with other modules in place of those named, such as `branch`; it shares all others with `block`."""
    changed = copy.copy(block)
    changed._modules = {**block._modules, **parts}
    return changed


def without_branch(block: Block) -> nn.Module:
    """The block with its branch at zero; all else stays, such as the ReLU after the addition.

    A highway block passes its input through, as its gate does when it is closed; so does a plain block.
    """
    if isinstance(block, ResidualBlock | PreActBlock):
        return _with_parts(block, branch=ZeroBranch())
    assert isinstance(block, HighwayBlock | PlainBlock), type(block)
    return nn.Identity()


def with_shortcut(block: PlainBlock, shortcut: nn.Module) -> ResidualBlock:
    """The residual block with the branch of a plain one, which it shares."""
    return ResidualBlock(block.branch, shortcut, lambda: block.act, block.channels, block.stride)


def named_blocks(net: ResNet) -> dict[str, Block]:
    """The blocks in order, by names such as "stage1.block2"."""
    return {
        f"{stage_name}.{name}": block  # type: ignore[misc]
        for stage_name, stage in net.stages.items()
        for name, block in stage.named_children()
    }


def deletable(net: ResNet) -> dict[str, tuple[Block, bool]]:
    """The blocks that can be deleted, and whether each keeps the shape of its input; a plain one that does not has no rest."""
    found, channels = {}, net.stem.channels
    for name, block in named_blocks(net).items():
        keeps_shape = block.stride == 1 and block.channels == channels
        if keeps_shape or not isinstance(block, PlainBlock):
            found[name] = block, keeps_shape
        channels = block.channels
    return found


def logits_without(net: ResNet, images: Tensor, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """The logits of the whole network, under the name "", and those without each of the blocks.

    What comes before a deleted block is computed once, which halves the cost.
    """
    blocks = list(named_blocks(net).items())
    x = net.stem(images)
    for index, (name, block) in enumerate(blocks):
        if name in names:
            y = without_branch(block)(x)
            for _, later in blocks[index + 1 :]:
                y = later(y)
            yield name, _after_blocks(net, y)
        x = block(x)
    yield "", _after_blocks(net, x)


def _after_blocks(net: ResNet, x: Tensor) -> Tensor:
    """The logits from the output of the last block."""
    if "final" in net._modules:
        x = net.final(x)
    return net.forward_head(x)
