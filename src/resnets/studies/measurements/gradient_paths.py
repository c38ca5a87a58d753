"""The gradient on paths of one length through a residual network (Veit et al. 2016, section 4.4)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets.models.blocks import Block, PreActBlock, ResidualBlock
from resnets.models.resnet import ResNet
from resnets.studies.measurements import edit_blocks


class OnePart(nn.Module):
    """A block that computes what it did; the gradient of each image passes through its branch only, or through its shortcut only.

    `through_branch` is bool (N,), with True for those of which it passes through the branch.
    """

    def __init__(self, block: Block, through_branch: Tensor) -> None:
        super().__init__()
        self.block, self.through_branch = block, through_branch

    def forward(self, x: Tensor) -> Tensor:
        block, still, chosen = self.block, x.detach(), self.through_branch[:, None, None, None]
        of_branch, of_shortcut = torch.where(chosen, x, still), torch.where(chosen, still, x)
        if isinstance(block, ResidualBlock):
            return block.act(block.branch(of_branch) + block.shortcut(of_shortcut))
        assert isinstance(block, PreActBlock), type(block)
        shortcut = block.act(block.norm(of_shortcut)) if block.shared else of_shortcut
        return block.branch(block.act(block.norm(of_branch))) + block.shortcut(shortcut)


def has_paths(net: ResNet) -> bool:
    """Whether every block of the network adds a branch to a shortcut."""
    return all(isinstance(block, ResidualBlock | PreActBlock) for block in edit_blocks.named_blocks(net).values())


def input_gradient(net: ResNet, images: Tensor, labels: Tensor, parts: Mapping[str, Tensor] | None = None) -> Tensor:
    """The gradient of each image's cross-entropy with respect to its pixels, (N, C, H, W); the network is in eval mode.

    Args:
        parts: for the blocks named, bool (N,): whether the gradient of each image passes through the branch only (True) or the
            shortcut only; through both by default.
    """
    images = images.detach().requires_grad_()
    blocks = [
        OnePart(block, parts[name]) if parts and name in parts else block
        for name, block in edit_blocks.named_blocks(net).items()
    ]
    ((_, logits),) = edit_blocks.logits_of(net, images, {"": blocks})
    (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), images)
    return gradient


def path_gradient(net: ResNet, images: Tensor, labels: Tensor, branches: Tensor) -> Tensor:
    """The gradient of each image on one path.

    Args:
        branches: bool (blocks, N), whether the path of an image passes through the branch of a block, or its shortcut.
    """
    return input_gradient(net, images, labels, dict(zip(edit_blocks.named_blocks(net), branches, strict=True)))


def draw_paths(length: int, blocks: int, images: int, draws: int, random: np.random.Generator) -> list[Tensor]:
    """bool (blocks, images) each: all paths through `length` branches, if they are at most `draws`, else so many for each image.

    Every image has draws of its own, so that an interval over the images contains the error of the draws.
    """
    if math.comb(blocks, length) <= draws:
        chosen = np.zeros((math.comb(blocks, length), blocks), bool)
        for row, path in zip(chosen, combinations(range(blocks), length), strict=True):
            row[list(path)] = True
        return [torch.from_numpy(row)[:, None].expand(-1, images) for row in chosen]
    return [torch.from_numpy(random.random((blocks, images)).argsort(axis=0) < length) for _ in range(draws)]


def number_of_paths(blocks: int) -> np.ndarray:
    """float64 (blocks + 1,): how many paths pass through 0, 1, … branches."""
    from scipy.special import comb  # imported by what counts

    return np.asarray(comb(blocks, np.arange(blocks + 1)))


def norms(gradient: Tensor) -> Tensor:
    """The norm for each image, float64 (N,)."""
    return gradient.flatten(1).double().norm(dim=1)


def without_gradients(net: ResNet) -> ResNet:
    """A copy whose parameters need no gradient, which saves half of a backward pass."""
    return copy.deepcopy(net).requires_grad_(False)
