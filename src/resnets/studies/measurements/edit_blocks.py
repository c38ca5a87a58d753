"""Networks without one of their blocks, as in Veit et al. 2016, Residual Networks Behave Like Ensembles of Relatively Shallow
Networks, section 4; and plain blocks with a shortcut.
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from resnets.models.blocks import Block, HighwayBlock, PlainBlock, ResidualBlock
from resnets.models.resnet import ResNet
from resnets.models.variants.block_variants import GatedBlock

Key = TypeVar("Key")


class ZeroBranch(nn.Module):
    """A branch that gives 0, which is added to any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


class TimesZero(nn.Module):
    """0 times what `module` gives, plus `offset`."""

    def __init__(self, module: nn.Module, offset: float = 0.0) -> None:
        super().__init__()
        self.module = module
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return 0 * self.module(x) + self.offset


def with_parts(block: Block, **parts: nn.Module) -> Block:
    """The block with other modules in place of those named, such as `branch`; it shares all others with `block`."""
    changed = copy.copy(block)
    changed._modules = {**block._modules, **parts}
    return changed


def without_branch(block: Block) -> nn.Module:
    """The block with its branch at zero; all else stays, such as the ReLU after the addition.

    A highway block passes its input through, as its gate does when it is closed; so does a plain block. A block with exclusive
    gating passes its shortcut, activated, as then its gate does.
    """
    if isinstance(block, HighwayBlock | PlainBlock):
        return nn.Identity()
    if type(block) is GatedBlock:
        return nn.Sequential(block.shortcut, block.act)
    return with_parts(block, branch=ZeroBranch())


def with_branch_times_zero(block: Block) -> Block:
    """The block as it is, except that its branch is multiplied by 0; a gate between branch and shortcut is closed, too."""
    assert isinstance(block.branch, nn.Module)
    changed = with_parts(block, branch=TimesZero(block.branch))
    if isinstance(block, HighwayBlock) or type(block) is GatedBlock:
        assert isinstance(block.gate, nn.Module)
        changed = with_parts(changed, gate=TimesZero(block.gate, offset=-1000.0))  # at which the sigmoid is 0 in fp32
    return changed


def with_shortcut(block: PlainBlock, shortcut: nn.Module) -> ResidualBlock:
    """The residual block with the branch of a plain one, which it shares."""
    return ResidualBlock(block.branch, shortcut, lambda: block.act, block.channels, block.stride)


def remove_shortcuts(net: ResNet) -> None:
    """Leave each residual block its branch only, in place."""
    for stage in net.stages.values():
        for name, block in list(stage.named_children()):
            stage._modules[name] = with_parts(block, shortcut=ZeroBranch())  # type: ignore[arg-type]


def named_blocks(net: ResNet) -> dict[str, Block]:
    """The blocks in order, by names such as "stage1.block2"."""
    return {
        f"{stage_name}.{name}": block  # type: ignore[misc]
        for stage_name, stage in net.stages.items()
        for name, block in stage.named_children()
    }


def is_plain(net: ResNet) -> bool:
    """Whether no block of the network has a shortcut."""
    return all(isinstance(block, PlainBlock) for block in named_blocks(net).values())


def is_residual(net: ResNet) -> bool:
    """Whether each block of the network adds its branch to its shortcut, without a gate between the two."""
    others = (PlainBlock, HighwayBlock, GatedBlock)
    return not any(isinstance(block, others) for block in named_blocks(net).values())


def deletable(net: ResNet) -> dict[str, tuple[Block, bool]]:
    """The blocks that can be deleted, and whether each keeps the shape of its input; a plain one that does not has no rest."""
    found, channels = {}, net.stem.channels
    for name, block in named_blocks(net).items():
        keeps_shape = block.stride == 1 and block.channels == channels
        if keeps_shape or not isinstance(block, PlainBlock):
            found[name] = block, keeps_shape
        channels = block.channels
    return found


def blocks_of_one_shape(net: ResNet) -> dict[str, Block]:
    """The blocks that keep the shape of their input, by name."""
    return {name: block for name, (block, keeps_shape) in deletable(net).items() if keeps_shape}


def without(net: ResNet, names: Collection[str]) -> list[nn.Module]:
    """The blocks of the network, those named without their branch."""
    return [without_branch(block) if name in names else block for name, block in named_blocks(net).items()]


def logits_of(net: ResNet, images: Tensor, variants: Mapping[Key, Sequence[nn.Module]]) -> Iterator[tuple[Key, Tensor]]:
    """The logits of networks that differ in their blocks.

    What comes before the first block that differs is computed once, which halves the cost of deleting each block.

    Args:
        variants: by any key, the blocks in order; those that do not differ are the modules of `net` themselves.
    """
    blocks: list[nn.Module] = list(named_blocks(net).values())
    first = {
        key: next((index for index, block in enumerate(blocks) if block is not variant[index]), len(blocks))
        for key, variant in variants.items()
    }
    x = net.stem(images)
    for index in range(len(blocks) + 1):
        for key, variant in variants.items():
            if first[key] == index:
                y = x
                for block in variant[index:]:
                    y = block(y)
                yield key, _after_blocks(net, y)
        if index < len(blocks):
            x = blocks[index](x)


def _after_blocks(net: ResNet, x: Tensor) -> Tensor:
    """The logits from the output of the last block."""
    if "final" in net._modules:
        x = net.final(x)
    return net.forward_head(x)
