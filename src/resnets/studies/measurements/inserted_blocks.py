"""New blocks in a trained network, and the size of branches."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models import initialization
from resnets.models.blocks import Block, PreActBlock, ResidualBlock, Stage
from resnets.models.resnet import ResNet
from resnets.studies.measurements import edit_blocks


def insert(net: ResNet, seed: int, *, with_shortcut: bool) -> tuple[ResNet, list[str]]:
    """A copy of the network with a new block in the middle of each stage that has a block which keeps the shape.

    The new block has the form of that one, weights as of He et al. and norms with scale 1.

    Args:
        with_shortcut: otherwise the new blocks pass on their branch only.

    Returns:
        The copy in eval mode, and the names of the new blocks.

    Raises:
        UserError: no stage has such a block with a shortcut.
    """
    torch.manual_seed(seed)
    net = copy.deepcopy(net)
    kept = [name for name, (block, keeps) in edit_blocks.deletable(net).items() if keeps and _has_shortcut(block)]
    names = []
    for stage_name, stage in list(net.stages.items()):
        blocks: list[Block] = list(stage.children())  # type: ignore[arg-type]
        similar = [block for name, block in edit_blocks.named_blocks(net).items()
                   if name in kept and name.split(".")[0] == stage_name]  # fmt: skip
        if similar:
            place = (len(blocks) + 1) // 2
            new = _new_block(similar[-1], with_shortcut)
            net._modules[stage_name] = Stage([*blocks[:place], new, *blocks[place:]])
            names.append(f"{stage_name}.block{place + 1}")
    if not names:
        raise UserError("No stage of the network has a block with a shortcut that keeps the shape.")
    return net.eval(), names


def _has_shortcut(block: Block) -> bool:
    return isinstance(block, ResidualBlock | PreActBlock)


def _new_block(like: Block, with_shortcut: bool) -> Block:
    block = copy.deepcopy(like)
    initialization.kaiming_(block)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return block if with_shortcut else edit_blocks.with_parts(block, shortcut=edit_blocks.ZeroBranch())


@torch.no_grad()
def branch_sizes(net: ResNet, images: Tensor) -> dict[str, float]:
    """By block, the mean over the images of the norm of its branch divided by the norm of its shortcut.

    Blocks whose shortcut gives 0 have an infinite size.
    """
    norms: dict[str, list[Tensor]] = {}
    hooks = []
    for name, block in edit_blocks.named_blocks(net).items():
        if _has_shortcut(block):
            norms[name] = []
            for part in (block.branch, block.shortcut):
                hooks.append(part.register_forward_hook(lambda _m, _x, y, name=name: norms[name].append(_norm(y))))  # type: ignore[union-attr]
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: float((branch / shortcut).mean()) for name, (branch, shortcut) in norms.items()}


def _norm(values: Tensor) -> Tensor:
    """For each image, float64 (N,), or a number. At once, since the ReLU that follows works in place."""
    return values.double().flatten(1).norm(dim=1) if values.ndim else values.double().abs()
