"""The specification of a network, a flat value that a checkpoint can carry, and its way to a built network."""

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
from resnets.models import attention, branches, layers, shortcuts, stems
from resnets.models.blocks import Block, Highway, Plain, PreResidual, Residual
from resnets.models.layers import Convolution, Norm
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
GATES: dict[str, branches.Gate] = {"none": nn.Identity, "se": attention.SqueezeExcite, "cbam": attention.CBAM}
INITIALIZATIONS = {"he": layers.he_, "glorot": layers.glorot_}
# What each word of a specification may be.
CHOICES: dict[str, tuple[str, ...]] = {
    "stem": tuple(STEMS),
    "branch": ("basic", "bottleneck", "single"),
    "meeting": ("residual", "plain", "highway"),
    "shortcut": ("A", "B", "C", "D"),
    "stride_at": ("1x1", "3x3"),
    "stride_block": ("first", "last"),
    "bias": ("none", "all", "outer"),
    "gate": tuple(GATES),
    "pool": ("avg", "max", "window"),
    "initialization": tuple(INITIALIZATIONS),
}


@dataclass(frozen=True)
class ResNetSpec:
    """Everything that makes one network another.

    Attributes:
        name: in the zoo.
        classes: outputs; the network gives logits, and no softmax is part of it.
        in_channels: of the image.
        imgsz: the side, in pixels, at which the figures of the zoo hold; with `pool="window"` the only side that fits.
        stem: a name of `STEMS`.
        stem_channels, stem_raw: its output; whether it leaves norm and act to the first block (pre-activation only).
        depths, widths, strides: of the stages: blocks, output channels, and how far the stage shrinks its maps.
        branch: "basic" (two 3x3), "bottleneck" (1x1, 3x3, 1x1) or "single" (one 3x3, for highway networks).
        inner_widths, groups: of a bottleneck's 3x3.
        preactivation: norm and act before each convolution (He et al. 2016).
        meeting: "residual", "plain" (no shortcut) or "highway".
        shortcut: option A, B, C or D; see `shortcuts`.
        zero_both_sides: option A's zeros on both sides of the channels instead of after them.
        stride_at: which convolution of a bottleneck has the stride.
        stride_block: the block of a stage that has it; "last" as in Keras Applications' V2.
        bias: of convolutions: "none", "all", or "outer" (stem, projections and the last 1x1: Keras Applications' V2).
        same_padding: TensorFlow's lopsided padding in place of torch's.
        norm_eps, norm_momentum: of batch normalization; torch's momentum, one minus Keras'.
        gate: attention at the end of each branch.
        gate_bias: the first bias of a highway's gate.
        pool, pool_window: "avg" or "max" over all places, or "window": averages of `pool_window` squares, flattened.
        hidden: units of a fully connected layer with ReLU before the last one; 0 for none.
        dropout: rate between the two convolutions of a basic pre-activation branch (Wide ResNet).
        drop_path_rate: stochastic depth: the chance that the last block's branch is dropped; it grows from 0 linearly.
        initialization: "he" or "glorot".
        zero_init_residual: each branch begins as zero (Goyal et al. 2017).
    """

    name: str
    classes: int = 1000
    in_channels: int = 3
    imgsz: int = 224
    stem: str = "imagenet"
    stem_channels: int = 64
    stem_raw: bool = False
    depths: tuple[int, ...] = (2, 2, 2, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    branch: str = "basic"
    inner_widths: tuple[int, ...] = ()
    groups: int = 1
    preactivation: bool = False
    meeting: str = "residual"
    shortcut: str = "B"
    zero_both_sides: bool = False
    stride_at: str = "3x3"
    stride_block: str = "first"
    bias: str = "none"
    same_padding: bool = False
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    gate: str = "none"
    gate_bias: float = 0.0
    pool: str = "avg"
    pool_window: int = 0
    hidden: int = 0
    dropout: float = 0.0
    drop_path_rate: float = 0.0
    initialization: str = "he"
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
        for key in ("classes", "in_channels", "imgsz", "stem_channels", "groups"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} is at least 1; received {getattr(self, key)}.")
        for key in ("dropout", "drop_path_rate"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(f"{key} is at least 0 and less than 1; received {getattr(self, key)}.")
        if not 0 < len(self.depths) == len(self.widths) == len(self.strides):
            raise UserError(f"depths, widths and strides name as many stages; received {self.depths}, {self.widths}, "
                            f"{self.strides}.")  # fmt: skip
        for key in ("hidden", "pool_window"):
            if getattr(self, key) < 0:
                raise UserError(f"{key} is at least 0; received {getattr(self, key)}.")
        self._check_together()

    def _check_together(self) -> None:
        """Refuse settings that would have no effect, or a ruinous one, beside the others."""
        bottleneck, residual = self.branch == "bottleneck", self.meeting == "residual"
        rules = (
            (bottleneck != (len(self.inner_widths) == len(self.depths)),
             f"inner_widths names as many stages as depths for branch='bottleneck', and none for others; received "
             f"{self.inner_widths}"),
            (self.groups > 1 and not bottleneck, f"groups={self.groups} needs branch='bottleneck'"),
            (any(width % self.groups for width in self.inner_widths),
             f"groups={self.groups} does not divide inner_widths={self.inner_widths}"),
            (self.stem == "deep" and self.stem_channels < 2, f"stem='deep' halves stem_channels={self.stem_channels}"),
            (self.gate != "none" and self.branch == "single", f"gate='{self.gate}' needs a branch of several layers"),
            (self.preactivation and not residual, f"preactivation=True needs meeting='residual', not '{self.meeting}'"),
            (self.branch == "single" and self.preactivation, "branch='single' is activated after its convolution"),
            (self.stem_raw and not self.preactivation, "stem_raw=True needs preactivation=True"),
            (self.dropout > 0 and not (self.preactivation and self.branch == "basic"),
             f"dropout={self.dropout} is that of wide residual networks: preactivation=True and branch='basic'"),
            (self.drop_path_rate > 0 and self.meeting == "plain",
             f"drop_path_rate={self.drop_path_rate} needs a shortcut to carry what is dropped; a plain network has none"),
            (self.zero_init_residual and (not residual or self.branch == "single"),
             "zero_init_residual=True needs meeting='residual' and a branch of several layers"),
            ((self.pool == "window") != (self.pool_window > 0), f"pool='window' and pool_window go together; received "
             f"pool='{self.pool}', pool_window={self.pool_window}"),
        )  # fmt: skip
        for broken, rule in rules:
            if broken:
                raise UserError(f"{rule}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ResNetSpec:
        """The specification of `to_dict`; a key that it does not know, or a value of another kind, is a UserError."""
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
    """The network of a specification, freshly initialized, or on "meta" shapes alone."""
    conv = layers.same_conv if spec.same_padding else layers.conv
    norm = layers.batch_norm(spec.norm_eps, spec.norm_momentum)
    stem = STEMS[spec.stem](
        spec.in_channels, spec.stem_channels, conv=conv, norm=norm, act=layers.relu,
        bias=spec.bias != "none", raw=spec.stem_raw,
    )  # fmt: skip
    stages: dict[str, Stage] = {}
    channels, built, total = stem.channels, 0, sum(spec.depths)
    for i, depth in enumerate(spec.depths):
        blocks: list[Block] = []
        for j in range(depth):
            strided = j == (0 if spec.stride_block == "first" else depth - 1)
            place = _Place(i, channels, spec.strides[i] if strided else 1, built, total)
            blocks.append(_block(spec, place, conv, norm))
            channels, built = spec.widths[i], built + 1
        stages[f"stage{i + 1}"] = Stage(blocks)
    final = nn.Sequential()
    if spec.preactivation:
        final.add_module("norm", norm(channels))
        final.add_module("act", layers.relu())
    pool, head, only_side = _head(spec, channels, stem, stages)
    net = ResNet(stem, stages, pool, head, final if len(final) else None, only_side)
    # On "meta" there is nothing to draw, and normal_ there imports torch's compiler: a second, and Triton, whose LLVM ends a
    # process that has TensorFlow's.
    if not next(net.parameters()).is_meta:
        _initialize(net, spec)
    return net


@dataclass(frozen=True)
class _Place:
    """Where a block stands: its stage, what comes in, its stride, and its number among all blocks."""

    stage: int
    in_channels: int
    stride: int
    number: int
    blocks: int


def _block(spec: ResNetSpec, place: _Place, conv: Convolution, norm: Norm) -> Block:
    channels = spec.widths[place.stage]
    changes = place.stride != 1 or place.in_channels != channels
    branch = _branch(spec, place, conv, norm)
    if spec.meeting == "plain" or (spec.meeting == "highway" and changes):
        # Srivastava et al. 2015, section 2.1: where the shape changes, a plain layer stands in for the highway.
        act = nn.Identity if spec.branch == "single" else layers.relu
        return Plain(branch, act, channels, place.stride)
    if spec.drop_path_rate:
        # Huang et al. 2016, equation 4: the chance grows linearly from the first block to the last.
        rate = spec.drop_path_rate * (place.number + 1) / place.blocks
        from torchvision.ops import (
            StochasticDepth,  # only here, since it imports Triton, which TensorFlow does not bear
        )

        branch = nn.Sequential(OrderedDict(branch=branch, drop=StochasticDepth(rate, "row")))
    if spec.meeting == "highway":
        return Highway(branch, conv(channels, channels, 3, bias=True), spec.gate_bias, channels)
    shortcut = _shortcut(spec, place, conv, norm)
    if spec.preactivation:
        first = place.number == 0 and not spec.stem_raw
        shared = place.number == 0 or isinstance(shortcut, _SHAPING)
        return PreResidual(
            place.in_channels, branch, shortcut, None if first else norm, layers.relu, channels, place.stride,
            shared=shared,
        )  # fmt: skip
    return Residual(branch, shortcut, layers.relu, channels, place.stride)


_SHAPING = (shortcuts.ZeroPad, shortcuts.Projection, shortcuts.PooledProjection)


def _branch(spec: ResNetSpec, place: _Place, conv: Convolution, norm: Norm) -> nn.Module:
    channels, bias = spec.widths[place.stage], spec.bias == "all"
    common = dict[str, Any](conv=conv, norm=norm, act=layers.relu, bias=bias)
    if spec.branch == "single":
        return branches.Single(place.in_channels, channels, place.stride, **common)
    common["gate"] = GATES[spec.gate]
    if spec.branch == "basic":
        if spec.preactivation:
            return branches.PreBasic(place.in_channels, channels, place.stride, dropout=spec.dropout, **common)
        return branches.Basic(place.in_channels, channels, place.stride, **common)
    common |= {
        "inner_channels": spec.inner_widths[place.stage],
        "groups": spec.groups,
        "stride_1x1": spec.stride_at == "1x1",
    }
    if spec.preactivation:
        outer_bias = spec.bias != "none"
        return branches.PreBottleneck(place.in_channels, channels, place.stride, outer_bias=outer_bias, **common)
    return branches.Bottleneck(place.in_channels, channels, place.stride, **common)


def _shortcut(spec: ResNetSpec, place: _Place, conv: Convolution, norm: Norm) -> nn.Module:
    channels = spec.widths[place.stage]
    widens = place.in_channels != channels
    if spec.stride_block == "last" and not widens:
        return shortcuts.StridedPool(place.stride) if place.stride > 1 else nn.Identity()
    if not (widens or place.stride > 1 or spec.shortcut == "C"):
        return nn.Identity()
    if spec.shortcut == "A":
        return shortcuts.ZeroPad(place.in_channels, channels, place.stride, both_sides=spec.zero_both_sides)
    make = partial(shortcuts.PooledProjection if spec.shortcut == "D" else shortcuts.Projection, conv=conv)
    return make(
        place.in_channels, channels, place.stride, norm=None if spec.preactivation else norm, bias=spec.bias != "none"
    )


def _head(
    spec: ResNetSpec, channels: int, stem: stems.Stem, stages: Mapping[str, Stage]
) -> tuple[nn.Module, Head, int | None]:
    """The pooling, the head, and the only side that fits where its window fixes one."""
    if spec.pool != "window":
        pool = nn.AdaptiveAvgPool2d(1) if spec.pool == "avg" else nn.AdaptiveMaxPool2d(1)
        return pool, Head(channels, spec.classes, spec.hidden), None
    with torch.device("meta"):
        trial = torch.empty(1, spec.in_channels, spec.imgsz, spec.imgsz)
    # Norms keep the side, and on "meta" they import torch's compiler; see `build`.
    shaping = nn.Sequential(*(layer for layer in stem if not isinstance(layer, nn.BatchNorm2d)))
    side = copy.deepcopy(shaping).to("meta")(trial).shape[-1]
    for stage in stages.values():
        side = -(-side // stage.stride)
    if side < spec.pool_window:
        raise UserError(f"imgsz={spec.imgsz} leaves maps of {side}x{side}, smaller than the pooling window of "
                        f"{spec.pool_window}; use larger images.")  # fmt: skip
    places = (side // spec.pool_window) ** 2
    return nn.AvgPool2d(spec.pool_window), Head(places * channels, spec.classes, spec.hidden), spec.imgsz


def _initialize(net: ResNet, spec: ResNetSpec) -> None:
    INITIALIZATIONS[spec.initialization](net)
    for module in net.modules():
        if isinstance(module, Highway):
            assert module.gate.bias is not None
            nn.init.constant_(module.gate.bias, module.gate_bias)
        elif isinstance(module, attention.CBAM):
            nn.init.zeros_(module.norm.weight)  # every place begins with one half: Jongchan/attention-module
        elif spec.zero_init_residual and isinstance(module, branches.Basic):
            nn.init.zeros_(module.norm2.weight)  # type: ignore[arg-type]
        elif spec.zero_init_residual and isinstance(module, branches.Bottleneck):
            nn.init.zeros_(module.norm3.weight)  # type: ignore[arg-type]
        elif spec.zero_init_residual and isinstance(module, branches.PreBasic):
            nn.init.zeros_(module.conv2.weight)
        elif spec.zero_init_residual and isinstance(module, branches.PreBottleneck):
            nn.init.zeros_(module.conv3.weight)
