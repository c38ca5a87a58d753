"""ResNetSpec, the specification of a network as a flat value that JSON can hold, and `build`, which makes the network."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from resnets.errors import UserError, suggestion
from resnets.models import attention, blocks, initialization, layers, shortcuts, stems
from resnets.models.blocks import Block, HighwayBlock, PlainBlock, PreActBlock, ResidualBlock
from resnets.models.layers import Attention, Convolution, Norm
from resnets.models.resnet import Head, ResNet, Stage

STEMS: dict[str, Callable[..., stems.Stem]] = {
    "imagenet": stems.imagenet,
    "deep": stems.deep,
    "cifar": stems.cifar,
    "keras": stems.keras,
    "same": stems.same,
    "valid": stems.valid,
    "notes": stems.notes,
}
ATTENTIONS: dict[str, Attention] = {"none": nn.Identity, "se": attention.SqueezeExcite, "cbam": attention.CBAM}
INITIALIZATIONS = {"kaiming": initialization.kaiming_, "xavier": initialization.xavier_}
# The values of each field that is a word.
CHOICES: dict[str, tuple[str, ...]] = {
    "stem": tuple(STEMS),
    "branch": ("basic", "bottleneck", "single"),
    "block": ("residual", "plain", "highway"),
    "shortcut": ("A", "B", "C", "D"),
    "stride_at": ("1x1", "3x3"),
    "downsample_block": ("first", "last"),
    "bias": ("none", "all", "outer"),
    "attention": tuple(ATTENTIONS),
    "pool": ("avg", "max", "window"),
    "initialization": tuple(INITIALIZATIONS),
}


@dataclass(frozen=True)
class ResNetSpec:
    """Everything that defines a network.

    Attributes:
        name: in the zoo.
        num_classes: number of outputs, which are logits: no softmax is part of the network.
        in_channels: channels of the image.
        imgsz: height and width, in pixels, of the figures in the zoo; with `pool="window"` the only size that fits.
        stem: a name of `STEMS`.
        stem_channels: output channels of the stem.
        stem_preact: whether the stem leaves norm and act to the first block (pre-activation networks only).
        num_blocks, out_channels, strides: of each stage: number of blocks, output channels, and stride.
        branch: "basic" (two 3x3), "bottleneck" (1x1, 3x3, 1x1) or "single" (one 3x3, for highway networks).
        mid_channels, groups: channels (for each stage) and groups of a bottleneck's 3x3.
        preactivation: norm and act before each convolution (He et al. 2016).
        block: how branch and shortcut are joined: "residual", "plain" (no shortcut) or "highway".
        shortcut: option A, B, C or D; see `shortcuts`.
        zero_pad_both_sides: whether option A pads zeros on both sides of the channels instead of after them.
        stride_at: which convolution of a bottleneck has the stride.
        downsample_block: the block of a stage that has the stride, "first" or "last"; "last" as in Keras Applications' V2.
        bias: of convolutions: "none", "all", or "outer" (stem, projections and the last 1x1: Keras Applications' V2).
        same_padding: TensorFlow's padding "same", which is asymmetric at stride 2, in place of torch's.
        norm_eps, norm_momentum: of batch normalization; torch's momentum, one minus Keras'.
        attention: at the end of each branch: "none", "se" or "cbam".
        gate_bias: initial bias of a highway network's gates.
        pool, pool_window: "avg" or "max" over all positions, or "window": averages over squares of side `pool_window`, flattened.
        head_hidden_dim: units of a fully connected layer with ReLU before the last one; 0 for none.
        dropout: rate between the two convolutions of a basic pre-activation branch (Wide ResNet).
        drop_path_rate: stochastic depth: the probability that the last block's branch is dropped; it grows linearly from 0.
        initialization: "kaiming" or "xavier".
        zero_init_residual: whether the last layer of each branch starts at zero (Goyal et al. 2017).
    """

    name: str
    num_classes: int = 1000
    in_channels: int = 3
    imgsz: int = 224
    stem: str = "imagenet"
    stem_channels: int = 64
    stem_preact: bool = False
    num_blocks: tuple[int, ...] = (2, 2, 2, 2)
    out_channels: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    branch: str = "basic"
    mid_channels: tuple[int, ...] = ()
    groups: int = 1
    preactivation: bool = False
    block: str = "residual"
    shortcut: str = "B"
    zero_pad_both_sides: bool = False
    stride_at: str = "3x3"
    downsample_block: str = "first"
    bias: str = "none"
    same_padding: bool = False
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    attention: str = "none"
    gate_bias: float = 0.0
    pool: str = "avg"
    pool_window: int = 0
    head_hidden_dim: int = 0
    dropout: float = 0.0
    drop_path_rate: float = 0.0
    initialization: str = "kaiming"
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, value := tuple(value))
            _check_type(field.name, value, field.default)
        for key, known in CHOICES.items():
            if (word := getattr(self, key)) not in known:
                raise UserError(f"{key} is one of {', '.join(known)}; received '{word}'.{suggestion(word, known)}")
        for key in ("num_classes", "in_channels", "imgsz", "stem_channels", "groups"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} is at least 1; received {getattr(self, key)}.")
        for key in ("dropout", "drop_path_rate"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(f"{key} is at least 0 and less than 1; received {getattr(self, key)}.")
        if not 0 < len(self.num_blocks) == len(self.out_channels) == len(self.strides):
            raise UserError(
                "num_blocks, out_channels and strides must have one value for each stage; received "
                f"{self.num_blocks}, {self.out_channels}, {self.strides}."
            )
        for key in ("head_hidden_dim", "pool_window"):
            if getattr(self, key) < 0:
                raise UserError(f"{key} is at least 0; received {getattr(self, key)}.")
        self._check_together()

    def _check_together(self) -> None:
        """Check consistency between fields."""
        bottleneck, residual = self.branch == "bottleneck", self.block == "residual"
        rules = (
            (bottleneck != (len(self.mid_channels) == len(self.num_blocks)),
             f"mid_channels must have one value for each stage with branch='bottleneck', and none otherwise; received "
             f"{self.mid_channels}"),
            (self.groups > 1 and not bottleneck, f"groups={self.groups} needs branch='bottleneck'"),
            (any(channels % self.groups for channels in self.mid_channels),
             f"groups={self.groups} does not divide mid_channels={self.mid_channels}"),
            (self.stem == "deep" and self.stem_channels < 2, f"stem='deep' halves stem_channels={self.stem_channels}"),
            (self.attention != "none" and self.branch == "single",
             f"attention='{self.attention}' needs a branch of several layers"),
            (self.preactivation and not residual, f"preactivation=True needs block='residual', not '{self.block}'"),
            (self.branch == "single" and self.preactivation, "branch='single' is activated after its convolution"),
            (self.stem_preact and not self.preactivation, "stem_preact=True needs preactivation=True"),
            (self.dropout > 0 and not (self.preactivation and self.branch == "basic"),
             f"dropout={self.dropout} is that of wide residual networks: preactivation=True and branch='basic'"),
            (self.drop_path_rate > 0 and self.block == "plain",
             f"drop_path_rate={self.drop_path_rate} needs shortcuts; a plain network has none"),
            (self.zero_init_residual and (not residual or self.branch == "single"),
             "zero_init_residual=True needs block='residual' and a branch of several layers"),
            ((self.pool == "window") != (self.pool_window > 0), f"pool='window' and pool_window need each other; received "
             f"pool='{self.pool}', pool_window={self.pool_window}"),
        )  # fmt: skip
        for violated, message in rules:
            if violated:
                raise UserError(f"{message}.")

    def to_dict(self) -> dict[str, Any]:
        """The fields as values that JSON can hold."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResNetSpec:
        """The inverse of `to_dict`; an unknown key or a value of another type is a UserError."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(
                    f"A network has no setting '{key}'.{suggestion(key, known)} It has: {', '.join(known)}."
                )
        if "name" not in values:
            raise UserError("A network's specification needs a name.")
        return cls(**values)


def _check_type(key: str, value: Any, default: Any) -> None:
    kind = str if default is dataclasses.MISSING else type(default)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    fits = fits or (kind is float and isinstance(value, int) and not isinstance(value, bool))
    if kind is tuple and fits:
        fits = all(isinstance(item, int) and not isinstance(item, bool) and item > 0 for item in value)
    if not fits:
        raise UserError(f"The setting {key} is of type {kind.__name__}; received {value!r}.")


def build(spec: ResNetSpec) -> ResNet:
    """The network of a specification, freshly initialized; on the meta device it has shapes only."""
    conv = layers.same_conv if spec.same_padding else layers.conv
    norm = layers.batch_norm(spec.norm_eps, spec.norm_momentum)
    stem = STEMS[spec.stem](
        spec.in_channels, spec.stem_channels, conv=conv, norm=norm, act=layers.relu,
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
        final.add_module("act", layers.relu())
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
    branch = _branch(spec, position, conv, norm)
    if spec.block == "plain" or (spec.block == "highway" and changes_shape):
        # Srivastava et al. 2015, section 2.1: where the shape changes, a plain layer replaces the highway layer.
        act = nn.Identity if spec.branch == "single" else layers.relu
        return PlainBlock(branch, act, channels, position.stride)
    if spec.drop_path_rate:
        # Huang et al. 2016, equation 4: the probability grows linearly from the first block to the last.
        rate = spec.drop_path_rate * (position.index + 1) / position.total
        from torchvision.ops import StochasticDepth  # here, since it imports Triton, which crashes beside TensorFlow

        branch = nn.Sequential(OrderedDict(branch=branch, drop=StochasticDepth(rate, "row")))
    if spec.block == "highway":
        return HighwayBlock(branch, conv(channels, channels, 3, bias=True), spec.gate_bias, channels)
    shortcut = _shortcut(spec, position, conv, norm)
    if spec.preactivation:
        first = position.index == 0 and not spec.stem_preact
        shared = position.index == 0 or isinstance(shortcut, _CHANGES_SHAPE)
        return PreActBlock(
            position.in_channels, branch, shortcut, None if first else norm, layers.relu, channels, position.stride,
            shared=shared,
        )  # fmt: skip
    return ResidualBlock(branch, shortcut, layers.relu, channels, position.stride)


_CHANGES_SHAPE = (shortcuts.ZeroPad, shortcuts.Projection, shortcuts.PooledProjection)


def _branch(spec: ResNetSpec, position: _BlockPosition, conv: Convolution, norm: Norm) -> nn.Module:
    channels, bias = spec.out_channels[position.stage], spec.bias == "all"
    common = dict[str, Any](conv=conv, norm=norm, act=layers.relu, bias=bias)
    if spec.branch == "single":
        return blocks.SingleConvBranch(position.in_channels, channels, position.stride, **common)
    common["attention"] = ATTENTIONS[spec.attention]
    if spec.branch == "basic":
        if spec.preactivation:
            return blocks.PreActBasicBranch(
                position.in_channels, channels, position.stride, dropout=spec.dropout, **common
            )
        return blocks.BasicBranch(position.in_channels, channels, position.stride, **common)
    common |= {
        "mid_channels": spec.mid_channels[position.stage],
        "groups": spec.groups,
        "stride_1x1": spec.stride_at == "1x1",
    }
    if spec.preactivation:
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
