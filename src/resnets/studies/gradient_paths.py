"""The gradient on paths of one length through a residual network (Veit et al. 2016, section 4.4)."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets.models.blocks import Block, PreActBlock, ResidualBlock
from resnets.models.resnet import ResNet
from resnets.studies import lesions


class OnePart(nn.Module):
    """A block that computes what it did, and whose gradient passes through its branch only, or through its shortcut only."""

    def __init__(self, block: Block, through_branch: bool) -> None:
        super().__init__()
        self.block, self.through_branch = block, through_branch

    def forward(self, x: Tensor) -> Tensor:
        block, still = self.block, x.detach()
        of_branch, of_shortcut = (x, still) if self.through_branch else (still, x)
        if isinstance(block, ResidualBlock):
            return block.act(block.branch(of_branch) + block.shortcut(of_shortcut))
        assert isinstance(block, PreActBlock), type(block)
        shortcut = block.act(block.norm(of_shortcut)) if block.shared else of_shortcut
        return block.branch(block.act(block.norm(of_branch))) + block.shortcut(shortcut)


def has_paths(net: ResNet) -> bool:
    """Whether every block of the network adds a branch to a shortcut."""
    return all(isinstance(block, ResidualBlock | PreActBlock) for block in lesions.named_blocks(net).values())


def input_gradient(net: ResNet, images: Tensor, labels: Tensor, parts: dict[str, bool] | None = None) -> Tensor:
    """The gradient of each image's cross-entropy with respect to its pixels, (N, C, H, W); the network is in eval mode.

    Args:
        parts: for the blocks named, whether the gradient passes through the branch only (True) or the shortcut only; through
            both by default.
    """
    images = images.detach().requires_grad_()
    blocks = [
        OnePart(block, parts[name]) if parts and name in parts else block
        for name, block in lesions.named_blocks(net).items()
    ]
    ((_, logits),) = lesions.logits_of(net, images, {"": blocks})
    (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), images)
    return gradient


def path_gradient(net: ResNet, images: Tensor, labels: Tensor, branches: Collection[str]) -> Tensor:
    """The gradient on the one path that passes through the branches of these blocks, and the shortcuts of all others."""
    return input_gradient(net, images, labels, {name: name in branches for name in lesions.named_blocks(net)})


def norms(gradient: Tensor) -> Tensor:
    """The norm for each image, float64 (N,)."""
    return gradient.flatten(1).double().norm(dim=1)


def without_gradients(net: ResNet) -> ResNet:
    """A copy whose parameters need no gradient, which saves half of a backward pass."""
    return copy.deepcopy(net).requires_grad_(False)
