"""The control of comparisons of plain with residual networks: which blocks have a shortcut, by what they compute."""

import copy
from collections.abc import Iterable

import torch
from torch import nn

from resnets.models.resnet import ResNet
from resnets.studies.measurements.edit_blocks import named_blocks
from resnets.studies.study import Control

_IMGSZ = 32  # pixels


def pass_on_control(name: str, pairs: Iterable[tuple[ResNet, ResNet]]) -> Control:
    """Whether in each pair all blocks of the second network pass on their input, and none of the first.

    A shortcut that is put into a plain network fails it, and one that is taken from a residual network.
    """
    plain: list[bool] = []
    residual: list[bool] = []
    for first, second in pairs:
        plain += blocks_with_shortcut(first)
        residual += blocks_with_shortcut(second)
    counts = f"{sum(plain)} of {len(plain)} blocks, and {sum(residual)} of {len(residual)}"
    return Control(f"{name}: blocks that pass on their input", counts, not any(plain) and all(residual))


@torch.no_grad()
def blocks_with_shortcut(net: ResNet) -> list[bool]:
    """Of each block, whether its output depends on its input when all parameters of its branch are 0."""
    net = copy.deepcopy(net).eval()
    random = torch.Generator().manual_seed(0)
    dtype = next(net.parameters()).dtype
    x = net.stem(torch.randn(2, 3, _IMGSZ, _IMGSZ, generator=random, dtype=dtype))
    found: list[bool] = []
    for block in named_blocks(net).values():
        for name, parameter in block.named_parameters():
            if name.startswith("branch."):
                nn.init.zeros_(parameter)
        y = block(x)
        found.append(not y[0].equal(y[1]))
        x = torch.rand(y.shape, generator=random, dtype=dtype)
    return found
