"""Dilation in place of strides: the function of a network, computed at more positions (à trous)."""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.backbone import Backbone
from resnets.models.blocks import Block, Stage
from resnets.models.layers import SameConv2d
from resnets.models.shortcuts import StridedPool, ZeroPad


def dilate(backbone: Backbone, stages: Collection[str], *, first_too: bool = False) -> Backbone:
    """Replace the strides of the stages by dilation, in place, and return the backbone with the strides that it now has.

    A convolution that had stride 2 keeps its dilation, and all after it have twice as much (Yu and Koltun 2016; the first
    3x3 behind the stride is dilated too where the stride is on a 1x1). On every second position, the maps are those that the
    network had. Only attention, which averages over all positions, and torch's padding at the edge can make a difference:
    none for sizes that the strides divide.

    Args:
        backbone: its layers are changed; the names of its tensors stay.
        stages: the names of all stages from one to the last.
        first_too: whether a convolution that had a stride is dilated as those after it, as in segmentation_models_pytorch. The
            maps are then no longer those that the network had.
    """
    rate = 1
    for name in stages:
        for block in _blocks(backbone.get_submodule(name)):
            rate = _dilate_block(block, rate, first_too=first_too)
    # Built anew from the same blocks, since a stage computes its stride when it is built.
    stages_by_name = {name: Stage(_blocks(stage)) for name, stage in backbone.stages.items()}
    return Backbone(backbone.stem, stages_by_name, backbone._modules.get("final"))


def with_output_stride(backbone: Backbone, output_stride: int, *, first_too: bool = False) -> Backbone:
    """The backbone with a last feature map of this stride: the stages that would go above it are dilated, in place.

    A network whose last map has a smaller stride is returned as it is. `first_too` is as in `dilate`.

    Raises:
        UserError: the network has no such stride behind its stem.
    """
    strides = backbone.feature_strides
    possible = sorted({stride for name, stride in strides.items() if name != "stem_conv"})
    if output_stride not in possible and output_stride < possible[-1]:
        raise UserError(f"The last map of this network can have a stride of {possible}; received {output_stride=}.")
    stages = [name for name in backbone.stages if strides[name] > output_stride]
    return dilate(backbone, stages, first_too=first_too) if stages else backbone


def _blocks(stage: nn.Module) -> list[Block]:
    return [block for block in stage.children() if isinstance(block, Block)]


def _dilate_block(block: Block, rate: int, *, first_too: bool) -> int:
    """Dilate a block whose input has `rate` times the positions; returns that of its output."""
    stride, block.stride = block.stride, 1
    for part in (name for name in ("branch", "gate", "shortcut") if hasattr(block, name)):
        before = rate
        # A list, since modules are replaced. The layers of a branch are registered in the order in which they are called.
        for path, module in list(block.get_submodule(part).named_modules(prefix=part)):
            if isinstance(module, nn.Conv2d):
                after = before * (stride if module.stride != (1, 1) else 1)
                _dilate_convolution(block, path, module, after if first_too else before)
                before = after
            elif isinstance(module, (StridedPool, ZeroPad)):
                module.stride = 1
            elif isinstance(module, nn.MaxPool2d):
                module.stride, module.dilation = 1, before
                before *= stride
            elif isinstance(module, nn.AvgPool2d):
                parent, _, name = path.rpartition(".")
                setattr(block.get_submodule(parent), name, DilatedAvgPool(rate))
    return rate * stride


def _dilate_convolution(block: Block, path: str, module: nn.Conv2d, rate: int) -> None:
    if isinstance(module, SameConv2d) and module.kernel_size != (1, 1):
        parent, _, name = path.rpartition(".")
        dilated = DilatedSameConv2d(
            module.in_channels, module.out_channels, module.kernel_size[0], dilation=rate, groups=module.groups,
            bias=module.bias is not None, device="meta",
        )  # fmt: skip
        dilated.weight, dilated.bias, dilated.replaced_stride = module.weight, module.bias, module.stride[0]
        setattr(block.get_submodule(parent), name, dilated)
        return
    module.stride = (1, 1)
    if module.kernel_size != (1, 1):
        module.dilation = (rate, rate)
        module.padding = tuple(side // 2 * rate for side in module.kernel_size)


class DilatedAvgPool(nn.Module):
    """The average over 2x2 positions that lie `rate` apart, at every position; at the edge over those that exist."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, self.rate, 0, self.rate), mode="replicate")
        x = x[:, :, self.rate :] + x[:, :, : -self.rate]
        return (x[..., self.rate :] + x[..., : -self.rate]) / 4


class DilatedSameConv2d(nn.Conv2d):
    """A `SameConv2d` at every position; `replaced_stride` decides how its padding was divided between the two sides."""

    replaced_stride = 1

    def forward(self, x: Tensor) -> Tensor:
        rate, total = self.dilation[0], self.kernel_size[0] - 1
        first = [(total - (-(-side // rate) - 1) % self.replaced_stride) // 2 * rate for side in x.shape[-2:]]
        top, left = first
        return self._conv_forward(
            F.pad(x, [left, total * rate - left, top, total * rate - top]), self.weight, self.bias
        )
