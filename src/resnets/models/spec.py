"""ResNetSpec: the specification of a network as a flat value that JSON can hold. `build_network.py` makes the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from resnets import check_settings
from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models import attention, initialization, layers, stems
from resnets.models.layers import Activation, Attention

STEMS: dict[str, Callable[..., stems.Stem]] = {
    "imagenet": stems.imagenet,
    "deep": stems.deep,
    "cifar": stems.cifar,
    "keras": stems.keras,
    "same": stems.same,
    "valid": stems.valid,
    "notes": stems.notes,
    "whiten": stems.whiten,
}
ATTENTIONS: dict[str, Attention] = {"none": nn.Identity, "se": attention.SqueezeExcite, "cbam": attention.CBAM}
ACTIVATIONS: dict[str, Activation] = {"relu": layers.relu, "gelu": layers.gelu}
INITIALIZATIONS = {
    "kaiming": initialization.kaiming_,
    "xavier": initialization.xavier_,
    "dirac": initialization.dirac_,
    "small_normal": initialization.small_normal_,
    "looks_linear": initialization.looks_linear_,
}
# The values of each field that is a word.
CHOICES: dict[str, tuple[str, ...]] = {
    "stem": tuple(STEMS),
    "branch": ("basic", "bottleneck", "single"),
    "block": (
        "residual", "plain", "highway", "scaled", "gated", "gated_shortcut", "norm_after", "act_before", "act_only",
    ),
    "shortcut": ("A", "B", "C", "D"),
    "stride_at": ("1x1", "3x3"),
    "downsample": ("stride", "pool"),
    "downsample_block": ("first", "last"),
    "act": tuple(ACTIVATIONS),
    "bias": ("none", "all", "outer"),
    "norm": ("batch", "none"),
    "attention": tuple(ATTENTIONS),
    "pool": ("avg", "max", "window"),
    "drop_path_by": ("image", "batch"),
    "initialization": tuple(INITIALIZATIONS),
}  # fmt: skip


@dataclass(frozen=True)
class ResNetSpec:
    """Everything that defines a network.

    Attributes:
        name: in the zoo.
        num_classes: number of outputs, which are logits: no softmax is part of the network.
        in_channels: channels of the image.
        imgsz: height and width, in pixels, of the figures in the zoo; with `pool="window"` the only size that fits.
        stem: a name of `STEMS`.
        stem_channels: output channels of the stem; "whiten" has 8 * in_channels whatever this says.
        stem_preact: whether the stem leaves norm and act to the first block (pre-activation networks only).
        num_blocks, out_channels, strides: of each stage: number of blocks, output channels, and stride.
        branch: "basic" (two 3x3), "bottleneck" (1x1, 3x3, 1x1) or "single" (one 3x3, for highway networks).
        mid_channels, groups: channels (for each stage) and groups of a bottleneck's 3x3.
        preactivation: norm and act before each convolution (He et al. 2016).
        block: how branch and shortcut are joined: "residual", "plain" (no shortcut), "highway", or a class of `block_variants`
            (He et al. 2016): "scaled", "gated", "gated_shortcut", "norm_after", "act_before" or "act_only".
        shortcut_scale, branch_scale: factors of a "scaled" block.
        shortcut: option A, B, C or D; see `shortcuts`.
        shortcut_dropout: rate of the dropout of the shortcuts; see `shortcuts.Dropped`.
        zero_pad_both_sides: whether option A pads zeros on both sides of the channels instead of after them.
        stride_at: which convolution of a bottleneck has the stride.
        downsample: "stride", or "pool": each stage begins with a block without shortcut, of one 3x3 and a max pooling.
        downsample_block: the block of a stage that has the stride, "first" or "last"; "last" as in Keras Applications' V2.
        bias: of convolutions: "none", "all", or "outer" (stem, projections and the last 1x1: Keras Applications' V2).
        same_padding: TensorFlow's padding "same", which is asymmetric at stride 2, in place of torch's.
        act: the activation, "relu" or "gelu".
        norm: batch normalization, "batch", or "none".
        norm_scale: whether batch normalization has a scale that is trained, beside the shift.
        norm_eps, norm_momentum: of batch normalization; torch's momentum, one minus Keras'.
        attention: at the end of each branch: "none", "se" or "cbam".
        gate_bias: initial bias of the gates of "highway", "gated" and "gated_shortcut" blocks.
        pool, pool_window: "avg" or "max" over all positions, or "window": averages over squares of side `pool_window`, flattened.
        head_hidden_dim: units of a fully connected layer with ReLU before the last one; 0 for none.
        dropout: rate between the two convolutions of a basic pre-activation branch (Wide ResNet).
        drop_path_rate: stochastic depth: the probability that the last block's branch is dropped; it grows linearly from 0.
        drop_path_by: "image", as torchvision's StochasticDepth, or "batch", as Huang et al. 2016; see `BatchStochasticDepth`.
        initialization: "kaiming", "xavier", "dirac", "small_normal" or "looks_linear"; see `initialization`.
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
    shortcut_scale: float = 1.0
    branch_scale: float = 1.0
    shortcut: str = "B"
    shortcut_dropout: float = 0.0
    zero_pad_both_sides: bool = False
    stride_at: str = "3x3"
    downsample: str = "stride"
    downsample_block: str = "first"
    bias: str = "none"
    same_padding: bool = False
    act: str = "relu"
    norm: str = "batch"
    norm_scale: bool = True
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    attention: str = "none"
    gate_bias: float = 0.0
    pool: str = "avg"
    pool_window: int = 0
    head_hidden_dim: int = 0
    dropout: float = 0.0
    drop_path_rate: float = 0.0
    drop_path_by: str = "image"
    initialization: str = "kaiming"
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                object.__setattr__(self, field.name, value := tuple(value))
            _check_type(field.name, value, field.default)
        for key, known in CHOICES.items():
            check_settings.check_choice(key, getattr(self, key), known)
        for key in ("num_classes", "in_channels", "imgsz", "stem_channels", "groups"):
            if getattr(self, key) < 1:
                raise UserError(f"{key} is at least 1; received {getattr(self, key)}.")
        for key in ("dropout", "drop_path_rate", "shortcut_dropout"):
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
            (self.downsample == "pool" and (self.branch != "basic" or not residual or self.preactivation
                                            or self.downsample_block == "last" or self.same_padding),
             "downsample='pool' needs block='residual', branch='basic', downsample_block='first', and neither preactivation nor "
             "same_padding"),
            (self.stem == "whiten" and self.stem_preact, "stem='whiten' has an activation: stem_preact=False"),
            (not self.norm_scale and self.zero_init_residual, "zero_init_residual=True needs norm_scale=True"),
            (self.drop_path_by == "batch" and not self.drop_path_rate, "drop_path_by='batch' needs drop_path_rate above 0"),
            (self.zero_init_residual and (not residual or self.branch == "single" or self.norm == "none"),
             "zero_init_residual=True needs block='residual', a branch of several layers and norms"),
            (self.branch == "single" and self.block not in ("residual", "plain", "highway"),
             f"block='{self.block}' needs a branch of several layers"),
            ((self.shortcut_scale, self.branch_scale) != (1, 1) and self.block != "scaled",
             "shortcut_scale and branch_scale need block='scaled'"),
            (self.shortcut_dropout > 0 and self.block in ("plain", "highway"),
             f"shortcut_dropout={self.shortcut_dropout} needs a block with a shortcut that is not gated, not '{self.block}'"),
            (self.initialization == "looks_linear" and not self._can_look_linear(),
             "initialization='looks_linear' needs block='plain', stem='cifar', ReLU, average pooling, even numbers of "
             "channels, and neither attention, groups nor a hidden layer of the head"),
            (self.norm == "none" and not self.norm_scale, "norm_scale=False needs norm='batch'"),
            (self.block == "act_only" and self.act != "relu", f"block='act_only' needs act='relu', not '{self.act}'"),
            ((self.pool == "window") != (self.pool_window > 0), f"pool='window' and pool_window need each other; received "
             f"pool='{self.pool}', pool_window={self.pool_window}"),
        )  # fmt: skip
        check_settings.check_rules(rules)

    def _can_look_linear(self) -> bool:
        """Whether all that comes between two activations keeps pairs of channels u and -u; see `initialization.looks_linear_`."""
        channels = (self.stem_channels, *self.out_channels, *self.mid_channels)
        others = self.block, self.stem, self.act, self.pool, self.attention, self.groups, self.head_hidden_dim
        return others == ("plain", "cifar", "relu", "avg", "none", 1, 0) and not any(each % 2 for each in channels)

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
