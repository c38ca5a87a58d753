"""The network of a specification: stem, stages of blocks with their shortcuts, pooling and head."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from resnets.errors import UserError
from resnets.models import blocks, initialization, layers, shortcuts, stems
from resnets.models.blocks import Block, HighwayBlock, PlainBlock, PreActBlock, ResidualBlock, Stage
from resnets.models.layers import Convolution, Norm
from resnets.models.resnet import Head, ResNet
from resnets.models.spec import ACTIVATIONS, ATTENTIONS, INITIALIZATIONS, STEMS, ResNetSpec
from resnets.models.variants import block_variants


def build(spec: ResNetSpec) -> ResNet:
    """The network of a specification, freshly initialized; on the meta device it has shapes only."""
    conv = layers.same_conv if spec.same_padding else layers.conv
    make_norm = layers.batch_norm if spec.norm_scale else layers.shift_batch_norm
    norm = make_norm(spec.norm_eps, spec.norm_momentum) if spec.norm == "batch" else layers.no_norm
    act = ACTIVATIONS[spec.act]
    stem = STEMS[spec.stem](
        spec.in_channels, spec.stem_channels, conv=conv, norm=norm, act=act,
        bias=spec.bias != "none", preact=spec.stem_preact,
    )  # fmt: skip
    stages: dict[str, Stage] = {}
    channels, index, total = stem.channels, 0, sum(spec.num_blocks)
    for i, num_blocks in enumerate(spec.num_blocks):
        stage: list[Block] = []
        for j in range(num_blocks):
            downsample = j == (0 if spec.downsample_block == "first" else num_blocks - 1)
            position = _BlockPosition(i, channels, spec.strides[i] if downsample else 1, index, total)
            stage.append(_block(spec, position, conv, norm))
            channels, index = spec.out_channels[i], index + 1
        stages[f"stage{i + 1}"] = Stage(stage)
    final = nn.Sequential()
    if spec.preactivation:
        final.add_module("norm", norm(channels))
    if spec.preactivation or spec.block == "act_only":
        final.add_module("act", act())
    pool, head, fixed_size = _head(spec, channels, stem, stages)
    net = ResNet(stem, stages, pool, head, final if len(final) else None, fixed_size)
    # On the meta device there is nothing to initialize, and normal_ would import torch's compiler, which takes a second, and
    # Triton: importing it after TensorFlow crashes the process (LLVM symbol clash).
    if not next(net.parameters()).is_meta:
        INITIALIZATIONS[spec.initialization](net)
        initialization.gates_and_cbam_(net)
        if spec.zero_init_residual:
            initialization.zero_init_residual_(net)
    return net


@dataclass(frozen=True)
class _BlockPosition:
    """Stage, input channels and stride of a block, and its index among all `total` blocks."""

    stage: int
    in_channels: int
    stride: int
    index: int
    total: int


def _block(spec: ResNetSpec, position: _BlockPosition, conv: Convolution, norm: Norm) -> Block:
    channels = spec.out_channels[position.stage]
    changes_shape = position.stride != 1 or position.in_channels != channels
    activation = ACTIVATIONS[spec.act]
    if spec.downsample == "pool" and position.stride > 1:
        bias = spec.bias == "all"
        pooled = blocks.PooledConvBranch(
            position.in_channels, channels, position.stride, conv=conv, norm=norm, act=activation, bias=bias
        )
        return PlainBlock(pooled, nn.Identity, channels, position.stride)
    branch = _branch(spec, position, conv, norm)
    if spec.block == "plain" or (spec.block == "highway" and changes_shape):
        # Srivastava et al. 2015, section 2.1: where the shape changes, a plain layer replaces the highway layer.
        act = nn.Identity if spec.branch == "single" else activation
        return PlainBlock(branch, act, channels, position.stride)
    if spec.drop_path_rate:
        # Huang et al. 2016, equation 4: the probability grows linearly from the first block to the last.
        rate = spec.drop_path_rate * (position.index + 1) / position.total
        branch = _with_stochastic_depth(branch, rate, spec.drop_path_by)
    if spec.block == "highway":
        return HighwayBlock(branch, conv(channels, channels, 3, bias=True), spec.gate_bias, channels)
    shortcut = _shortcut(spec, position, conv, norm)
    changes_input = isinstance(shortcut, _CHANGES_SHAPE)
    if spec.shortcut_dropout:
        shortcut = shortcuts.Dropped(shortcut, spec.shortcut_dropout)
    if spec.preactivation:
        first = position.index == 0 and not spec.stem_preact
        shared = position.index == 0 or changes_input
        return PreActBlock(
            position.in_channels, branch, shortcut, None if first else norm, activation, channels, position.stride,
            shared=shared,
        )  # fmt: skip
    return _join(spec, position, branch, shortcut, conv, norm)


_CHANGES_SHAPE = (shortcuts.ZeroPad, shortcuts.Projection, shortcuts.PooledProjection)


def _with_stochastic_depth(branch: nn.Module, rate: float, by: str) -> nn.Module:
    if by == "batch":
        return block_variants.BatchStochasticDepth(branch, rate)
    from torchvision.ops import StochasticDepth  # here, since it imports Triton, which crashes beside TensorFlow

    return nn.Sequential(OrderedDict(branch=branch, drop=StochasticDepth(rate, "row")))


def _join(
    spec: ResNetSpec, position: _BlockPosition, branch: nn.Module, shortcut: nn.Module, conv: Convolution, norm: Norm
) -> Block:
    """The block of a branch and a shortcut that are added, both or one of them changed before."""
    channels, stride, act = spec.out_channels[position.stage], position.stride, ACTIVATIONS[spec.act]
    if spec.block == "scaled":
        scales = {"shortcut_scale": spec.shortcut_scale, "branch_scale": spec.branch_scale}
        return block_variants.ScaledBlock(branch, shortcut, act, channels, stride, **scales)
    if spec.block in ("gated", "gated_shortcut"):
        gated = block_variants.GatedBlock if spec.block == "gated" else block_variants.GatedShortcutBlock
        gate = conv(position.in_channels, channels, 1, stride, bias=True)
        return gated(branch, shortcut, gate, spec.gate_bias, act, channels, stride)
    if spec.block == "norm_after":
        return block_variants.NormAfterBlock(branch, shortcut, norm, act, channels, stride)
    if spec.block == "act_before":
        return block_variants.ActBeforeBlock(branch, shortcut, act, channels, stride)
    if spec.block == "act_only":
        return block_variants.ActOnlyBlock(branch, shortcut, nn.ReLU, channels, stride)
    return ResidualBlock(branch, shortcut, act, channels, stride)


def _branch(spec: ResNetSpec, position: _BlockPosition, conv: Convolution, norm: Norm) -> nn.Module:
    channels, bias = spec.out_channels[position.stage], spec.bias == "all"
    common = dict[str, Any](conv=conv, norm=norm, act=ACTIVATIONS[spec.act], bias=bias)
    if spec.branch == "single":
        return blocks.SingleConvBranch(position.in_channels, channels, position.stride, **common)
    common["attention"] = ATTENTIONS[spec.attention]
    ends_in_conv = spec.preactivation or spec.block == "norm_after"
    if spec.branch == "basic":
        if ends_in_conv:
            return blocks.PreActBasicBranch(
                position.in_channels, channels, position.stride, dropout=spec.dropout, **common
            )
        return blocks.BasicBranch(position.in_channels, channels, position.stride, **common)
    common |= {
        "mid_channels": spec.mid_channels[position.stage],
        "groups": spec.groups,
        "stride_1x1": spec.stride_at == "1x1",
    }
    if ends_in_conv:
        outer_bias = spec.bias != "none"
        return blocks.PreActBottleneckBranch(
            position.in_channels, channels, position.stride, outer_bias=outer_bias, **common
        )
    return blocks.BottleneckBranch(position.in_channels, channels, position.stride, **common)


def _shortcut(spec: ResNetSpec, position: _BlockPosition, conv: Convolution, norm: Norm) -> nn.Module:
    channels = spec.out_channels[position.stage]
    changes_channels = position.in_channels != channels
    if spec.downsample_block == "last" and not changes_channels:
        return shortcuts.StridedPool(position.stride) if position.stride > 1 else nn.Identity()
    if not (changes_channels or position.stride > 1 or spec.shortcut == "C"):
        return nn.Identity()
    if spec.shortcut == "A":
        return shortcuts.ZeroPad(position.in_channels, channels, position.stride, both_sides=spec.zero_pad_both_sides)
    projection = partial(shortcuts.PooledProjection if spec.shortcut == "D" else shortcuts.Projection, conv=conv)
    return projection(
        position.in_channels,
        channels,
        position.stride,
        norm=None if spec.preactivation else norm,
        bias=spec.bias != "none",
    )


def _head(
    spec: ResNetSpec, channels: int, stem: stems.Stem, stages: Mapping[str, Stage]
) -> tuple[nn.Module, Head, int | None]:
    """The pooling, the head, and the only image size that fits where the pooling window is fixed, else None."""
    if spec.pool != "window":
        pool = nn.AdaptiveAvgPool2d(1) if spec.pool == "avg" else nn.AdaptiveMaxPool2d(1)
        return pool, Head(channels, spec.num_classes, spec.head_hidden_dim), None
    with torch.device("meta"):
        image = torch.empty(1, spec.in_channels, spec.imgsz, spec.imgsz)
    # Norms do not change the size, and on the meta device they import torch's compiler; see `build`.
    without_norms = nn.Sequential(*(layer for layer in stem if not isinstance(layer, nn.BatchNorm2d)))
    side = copy.deepcopy(without_norms).to("meta")(image).shape[-1]
    for stage in stages.values():
        side = -(-side // stage.stride)
    if side < spec.pool_window:
        raise UserError(f"imgsz={spec.imgsz} gives feature maps of {side}x{side}, smaller than the pooling window of "
                        f"{spec.pool_window}; use larger images.")  # fmt: skip
    positions = (side // spec.pool_window) ** 2
    return (
        nn.AvgPool2d(spec.pool_window),
        Head(positions * channels, spec.num_classes, spec.head_hidden_dim),
        spec.imgsz,
    )
