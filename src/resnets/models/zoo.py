"""The networks by name: a table of specifications, each with its paper or file and its figures.

The variant is part of the name, because the shapes agree and the numbers do not: `resnet50` has its stride in the 3x3
(torchvision), `resnet50_v1` in the first 1x1 (the 2015 paper), `resnet50_v2` is the pre-activation network of the 2016
paper, `keras_resnet50` and `keras_resnet50v2` are those of Keras Applications to the bit.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from resnets.errors import UserError, suggestion
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec, build

HE15 = "He et al. 2015, Deep Residual Learning for Image Recognition"
HE16 = "He et al. 2016, Identity Mappings in Deep Residual Networks"
V15 = "He et al. 2015; stride in the 3x3 as in fb.resnet.torch and torchvision"
TRICKS = "He et al. 2018, Bag of Tricks for Image Classification"
WIDE = "Zagoruyko and Komodakis 2016, Wide Residual Networks"
NEXT = "Xie et al. 2017, Aggregated Residual Transformations"
SE = "Hu et al. 2018, Squeeze-and-Excitation Networks"
CBAM = "Woo et al. 2018, Convolutional Block Attention Module"
HIGHWAY = "Srivastava et al. 2015, Training Very Deep Networks"
KERAS1 = "Keras Applications, keras/src/applications/resnet.py"
KERAS2 = "Keras Applications, keras/src/applications/resnet_v2.py"
# Protocols of the published errors.
CROPS10 = "10-crop"
CROP1 = "1-crop 224"
CIFAR = "CIFAR-10 test"

BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Attributes:
        spec: what to build.
        paper: the paper or file that it follows.
        parameters: trainable ones, at the specification's classes.
        multiply_adds: of convolutions and linear layers for one picture of side `imgsz`.
        error: the published error in percent with its protocol; empty where none could be read in a source.
    """

    spec: ResNetSpec
    paper: str
    parameters: int
    multiply_adds: int
    error: str = ""

    @property
    def imgsz(self) -> int:
        """The side in pixels for which `multiply_adds` holds."""
        return self.spec.imgsz


def _imagenet(name: str, depth: int, **changes: Any) -> ResNetSpec:
    if depth in BASIC:
        return replace(ResNetSpec(name, depths=BASIC[depth]), **changes)
    widths: dict[str, Any] = {"widths": (256, 512, 1024, 2048), "inner_widths": (64, 128, 256, 512)}
    return replace(ResNetSpec(name, depths=BOTTLENECK[depth], branch="bottleneck", **widths), **changes)


def _keras(name: str, depth: int, **changes: Any) -> ResNetSpec:
    # eps and the biases: keras/src/applications/resnet.py. Keras' default momentum of 0.99 is torch's 0.01.
    return _imagenet(
        name, depth, stem="keras", stride_at="1x1", bias="all", norm_eps=1.001e-5, norm_momentum=0.01,
        initialisation="glorot", **changes,
    )  # fmt: skip


def _keras_v2(name: str, depth: int) -> ResNetSpec:
    return replace(
        _keras(name, depth, stem_raw=True, preactivation=True, strides=(2, 2, 2, 1), stride_block="last"),
        stride_at="3x3", bias="outer",
    )  # fmt: skip


def _cifar(name: str, depth: int, **changes: Any) -> ResNetSpec:
    if (depth - 2) % 6:
        raise UserError(f"A CIFAR network has 6n+2 layers; received {depth}.")
    n = (depth - 2) // 6
    return replace(
        ResNetSpec(
            name, classes=10, imgsz=32, stem="cifar", stem_channels=16, depths=(n, n, n), widths=(16, 32, 64),
            strides=(1, 2, 2), shortcut="A",
        ),
        **changes,
    )  # fmt: skip


def _cifar_preactivation(name: str, depth: int) -> ResNetSpec:
    # resnet-pre-act.lua: 9n+2 layers, bottlenecks, and 16 channels that become 64 in the first stage.
    if (depth - 2) % 9:
        raise UserError(f"A CIFAR pre-activation bottleneck network has 9n+2 layers; received {depth}.")
    n = (depth - 2) // 9
    return replace(
        _cifar(name, 20, preactivation=True, shortcut="B"), depths=(n, n, n), branch="bottleneck",
        widths=(64, 128, 256), inner_widths=(16, 32, 64), stride_at="1x1",
    )  # fmt: skip


def _cifar_highway(name: str, depth: int) -> ResNetSpec:
    # One 3x3 a block, so that each layer has its gate. Srivastava et al. 2015, section 3.1, advise a bias of -1, -2 and -3
    # for convolutional highways of about 10, 20 and 30 layers; that rule goes on to -6, the best of He et al. 2016 (table
    # 1) for 110 layers.
    n = (depth - 2) // 3
    gate_bias = -float(min(round(depth / 10), 6))
    return replace(
        _cifar(name, depth, meeting="highway", branch="single"), depths=(n, n, n), gate_bias=gate_bias, shortcut="B"
    )


def _wide_cifar(name: str, depth: int, width: int) -> ResNetSpec:
    if (depth - 4) % 6:
        raise UserError(f"A wide CIFAR network has 6n+4 layers; received {depth}.")
    n = (depth - 4) // 6
    widths = (16 * width, 32 * width, 64 * width)
    return replace(_cifar(name, 20, preactivation=True, shortcut="B"), depths=(n, n, n), widths=widths)


def _tutorial() -> ResNetSpec:
    # Keras' defaults: eps 1e-3, momentum 0.99, Glorot's uniform initialisation.
    return _imagenet(
        "tutorial_resnet50", 50, stem="valid", stride_at="1x1", bias="all", norm_eps=1e-3, norm_momentum=0.01,
        pool="max", initialisation="glorot",
    )  # fmt: skip


def _notes_list() -> ResNetSpec:
    # The notes give no picture size; a 2x2 average before the flatten leaves one place at the 64x64 of the course whose
    # block names (a, b, c, …) they use. ReLU follows each norm, as in their own code.
    return replace(_tutorial(), name="notes_resnet50", stem="notes", imgsz=64, pool="window", pool_window=2)


def _notes_code() -> ResNetSpec:
    # conv_block's default stride of 2 is taken in every stage, the first too.
    return _imagenet(
        "notes_basic_resnet", 34, stem="same", strides=(2, 2, 2, 2), bias="all", same_padding=True, norm_eps=1e-3,
        norm_momentum=0.01, pool="window", pool_window=4, initialisation="glorot",
    )  # fmt: skip


def _tiny() -> ResNetSpec:
    return replace(_cifar("tiny", 8), widths=(16, 24, 48), shortcut="B", strides=(2, 2, 2))


# name, specification, paper, parameters, multiply-adds, published error. The figures are proven by tests/contracts.
def _rows() -> list[tuple[ResNetSpec, str, str]]:
    rows: list[tuple[ResNetSpec, str, str]] = []
    torchvision = {18: "30.24", 34: "26.69", 50: "23.87", 101: "22.63", 152: "21.69"}
    for depth, error in torchvision.items():
        rows.append((_imagenet(f"resnet{depth}", depth), V15, f"{error} top-1, {CROP1}, torchvision V1 weights"))
    rows += [
        (_imagenet("resnet34_a", 34, shortcut="A"), HE15, f"25.03 top-1, 7.76 top-5, {CROPS10}"),
        (_imagenet("resnet34_c", 34, shortcut="C"), HE15, f"24.19 top-1, 7.40 top-5, {CROPS10}"),
    ]
    paper = {50: "22.85 top-1, 6.71 top-5", 101: "21.75 top-1, 6.05 top-5", 152: "21.43 top-1, 5.71 top-5"}
    for depth, error in paper.items():
        rows.append((_imagenet(f"resnet{depth}_v1", depth, stride_at="1x1"), HE15, f"{error}, {CROPS10}"))
    preactivation = {50: "", 101: "", 152: "21.1 top-1, 5.5 top-5", 200: "20.7 top-1, 5.3 top-5"}
    for depth, error in preactivation.items():
        spec = _imagenet(f"resnet{depth}_v2", depth, stride_at="1x1", preactivation=True)
        rows.append((spec, HE16, error and f"{error}, 1-crop 320"))
    rows.append((_imagenet("resnet50c", 50, stem="deep"), TRICKS, f"22.99 top-1, {CROP1}, mmpretrain"))
    for depth, error in {50: "22.46", 101: "", 152: ""}.items():
        spec = _imagenet(f"resnet{depth}d", depth, stem="deep", shortcut="D")
        rows.append((spec, TRICKS, error and f"{error} top-1, {CROP1}, mmpretrain"))
    rows += [
        (_imagenet("wide_resnet50_2", 50, inner_widths=(128, 256, 512, 1024)), WIDE, "21.9 top-1, 1-crop"),
        (_imagenet("wide_resnet101_2", 101, inner_widths=(128, 256, 512, 1024)), WIDE,
         f"21.15 top-1, {CROP1}, torchvision V1 weights"),
        (_resnext("resnext50_32x4d", 50, 32, 4), NEXT, "22.2 top-1, 1-crop"),
        (_resnext("resnext101_32x8d", 101, 32, 8), NEXT, f"20.69 top-1, {CROP1}, torchvision V1 weights"),
        (_resnext("resnext101_64x4d", 101, 64, 4), NEXT, "20.4 top-1, 1-crop"),
    ]  # fmt: skip
    se = {18: "", 34: "", 50: "22.37 top-1, 6.36 top-5", 101: "21.75 top-1, 5.72 top-5", 152: "21.34 top-1, 5.54 top-5"}
    for depth, error in se.items():
        rows.append(
            (_imagenet(f"se_resnet{depth}", depth, gate="se"), SE, error and f"{error}, 1-crop, authors' retraining")
        )
    for depth, error in {18: "", 34: "", 50: "22.38 top-1, 6.05 top-5", 101: ""}.items():
        rows.append(
            (_imagenet(f"cbam_resnet{depth}", depth, gate="cbam"), CBAM, error and f"{error}, authors' repository")
        )
    for depth, error in {18: "27.94 top-1", 34: "28.54 top-1, 10.02 top-5"}.items():
        rows.append((_imagenet(f"plain{depth}", depth, meeting="plain"), HE15, f"{error}, {CROPS10}"))
    for depth, error in {
        50: "25.1 top-1, 7.9 top-5",
        101: "23.6 top-1, 7.2 top-5",
        152: "23.4 top-1, 6.9 top-5",
    }.items():
        rows.append((_keras(f"keras_resnet{depth}", depth), KERAS1, f"{error}, keras.io"))
    for depth, error in {
        50: "24.0 top-1, 7.0 top-5",
        101: "22.8 top-1, 6.2 top-5",
        152: "22.0 top-1, 5.8 top-5",
    }.items():
        rows.append((_keras_v2(f"keras_resnet{depth}v2", depth), KERAS2, f"{error}, keras.io"))
    cifar = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.61 (mean of 5; best 6.43)", 1202: "7.93"}
    for depth, error in cifar.items():
        rows.append((_cifar(f"cifar_resnet{depth}", depth), HE15, f"{error}, {CIFAR}"))
    for depth in (20, 32, 44, 56, 110):
        error = f"over 60, {CIFAR}" if depth == 110 else ""
        rows.append((_cifar(f"cifar_plain{depth}", depth, meeting="plain"), HE15, error))
    rows.append((_cifar("cifar_preresnet110", 110, preactivation=True), HE16, f"6.37, {CIFAR}, median of 5"))
    for depth, error in {164: "5.46", 1001: "4.92"}.items():
        rows.append((_cifar_preactivation(f"cifar_preresnet{depth}", depth), HE16, f"{error}, {CIFAR}, median of 5"))
    for depth in (20, 32, 56, 110):
        rows.append((_cifar_highway(f"cifar_highway{depth}", depth), HIGHWAY, ""))
    for depth, width, error in ((16, 8, ""), (28, 10, f"4.00, {CIFAR}, median of 5"), (40, 4, "")):
        rows.append((_wide_cifar(f"wrn_{depth}_{width}", depth, width), WIDE, error))
    rows += [
        (_tutorial(), "a Keras tutorial's ResNet-50", ""),
        (_notes_list(), "lecture notes' list of stages", ""),
        (_notes_code(), "lecture notes' code", ""),
        (_tiny(), "for tests", ""),
    ]
    return rows


def _resnext(name: str, depth: int, groups: int, width: int) -> ResNetSpec:
    inner = tuple(groups * width * 2**i for i in range(4))
    return _imagenet(name, depth, groups=groups, inner_widths=inner)


# Trainable parameters, and multiply-adds of convolutions and linear layers at the specification's own side.
# tests/contracts/test_zoo.py computes each anew.
FIGURES: dict[str, tuple[int, int]] = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet34_a": (21_623_848, 3_644_493_824),
    "resnet34_c": (22_716_840, 3_830_747_136),
    "resnet50_v1": (25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 11_282_415_616),
    "resnet50_v2": (25_549_352, 3_857_973_248),
    "resnet101_v2": (44_541_480, 7_570_194_432),
    "resnet152_v2": (60_185_128, 11_282_415_616),
    "resnet200_v2": (64_666_152, 14_776_270_848),
    "resnet50c": (25_576_264, 4_328_824_832),
    "resnet50d": (25_576_264, 4_328_824_832),
    "resnet101d": (44_568_392, 8_041_046_016),
    "resnet152d": (60_212_040, 11_753_267_200),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "wide_resnet101_2": (126_886_696, 22_753_050_624),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x8d": (88_791_336, 16_414_015_488),
    "resnext101_64x4d": (83_455_272, 15_460_270_080),
    "se_resnet18": (11_779_624, 1_814_161_408),
    "se_resnet34": (21_960_416, 3_663_920_128),
    "se_resnet50": (28_088_024, 4_091_699_200),
    "se_resnet101": (49_326_872, 7_806_148_608),
    "se_resnet152": (66_821_848, 11_520_204_800),
    "cbam_resnet18": (11_779_392, 1_815_063_764),
    "cbam_resnet34": (21_960_468, 3_665_434_742),
    "cbam_resnet50": (28_089_624, 4_095_573_110),
    "cbam_resnet101": (49_330_172, 7_812_577_278),
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "keras_resnet50": (25_583_592, 3_857_973_248),
    "keras_resnet101": (44_601_832, 7_570_194_432),
    "keras_resnet152": (60_268_520, 11_282_415_616),
    "keras_resnet50v2": (25_568_360, 3_482_255_360),
    "keras_resnet101v2": (44_577_896, 7_194_476_544),
    "keras_resnet152v2": (60_236_904, 10_906_697_728),
    "cifar_resnet20": (269_722, 40_551_040),
    "cifar_resnet32": (464_154, 68_862_592),
    "cifar_resnet44": (658_586, 97_174_144),
    "cifar_resnet56": (853_018, 125_485_696),
    "cifar_resnet110": (1_727_962, 252_887_680),
    "cifar_resnet1202": (19_421_274, 2_829_238_912),
    "cifar_plain20": (269_722, 40_551_040),
    "cifar_plain32": (464_154, 68_862_592),
    "cifar_plain44": (658_586, 97_174_144),
    "cifar_plain56": (853_018, 125_485_696),
    "cifar_plain110": (1_727_962, 252_887_680),
    "cifar_preresnet110": (1_727_962, 252_887_680),
    "cifar_preresnet164": (1_703_258, 244_500_992),
    "cifar_preresnet1001": (10_327_706, 1_487_849_984),
    "cifar_highway20": (514_522, 78_299_776),
    "cifar_highway32": (902_938, 134_922_880),
    "cifar_highway56": (1_679_770, 248_169_088),
    "cifar_highway110": (3_427_642, 502_973_056),
    "wrn_16_8": (10_961_370, 1_548_145_664),
    "wrn_28_10": (36_479_194, 5_243_328_768),
    "wrn_40_4": (8_949_210, 1_298_582_016),
    "tutorial_resnet50": (25_583_592, 3_738_194_624),
    "notes_resnet50": (25_583_592, 310_214_656),
    "notes_basic_resnet": (21_810_472, 1_057_198_080),
    "tiny": (47_626, 2_781_664),
}


@cache
def entries() -> dict[str, Entry]:
    """The whole zoo, in the order of the families."""
    return {spec.name: Entry(spec, paper, *FIGURES[spec.name], error) for spec, paper, error in _rows()}


def names(pattern: str = "*") -> list[str]:
    """The names that match a pattern such as "cifar_*"; a pattern without a star matches any part of a name."""
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return [name for name in entries() if fnmatch.fnmatchcase(name, pattern.lower())]


def find(name: str) -> Entry:
    """The network of that name; an unknown one is a UserError that suggests the nearest."""
    if name not in entries():
        hint = suggestion(name.lower(), entries()) or " `resnets models` lists them all."
        raise UserError(f"There is no network '{name}'.{hint}")
    return entries()[name]


def spec(name: str, *, classes: int | None = None, in_channels: int = 3, **overrides: Any) -> ResNetSpec:
    """The specification of a network of the zoo with changes.

    Args:
        name: as `names()` gives it.
        classes: outputs; the network's own (1000 for ImageNet's, 10 for CIFAR's) when None.
        in_channels: of the picture.
        overrides: other attributes of `ResNetSpec`, such as `stem="cifar"`, `shortcut="A"` or `drop_path_rate=0.2`.

    Raises:
        UserError: an unknown name or override, with the nearest known one, or a value that does not fit.
    """
    base = find(name).spec
    known = [field.name for field in dataclasses.fields(ResNetSpec) if field.name != "name"]
    for key in overrides:
        if key not in known:
            raise UserError(f"A network has no setting '{key}'.{suggestion(key, known)} It has: {', '.join(known)}.")
    return replace(base, classes=base.classes if classes is None else classes, in_channels=in_channels, **overrides)


def create(name: str, *, classes: int | None = None, in_channels: int = 3, **overrides: Any) -> ResNet:
    """A freshly initialised network: `create("resnet50", classes=5)`. Arguments and errors as of `spec`.

    It takes (N, in_channels, H, W) float pictures and gives (N, classes) logits; see `ResNet` for the rest.
    """
    return build(spec(name, classes=classes, in_channels=in_channels, **overrides))
