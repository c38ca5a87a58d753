"""The networks by name: their specifications, papers, parameters, multiply-adds and published errors.

The variant is part of the name, because the shapes agree and the numbers do not: `resnet50` has its stride in the 3x3
(torchvision), `resnet50_v1` in the first 1x1 (the 2015 paper), `resnet50_v2` is the pre-activation network of the 2016
paper, `keras_resnet50` and `keras_resnet50v2` are those of Keras Applications to the bit.
"""

import dataclasses
import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models import near_names
from resnets.models.build_network import build as build_spec
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec

HE15 = "He et al. 2015, Deep Residual Learning for Image Recognition"
HE16 = "He et al. 2016, Identity Mappings in Deep Residual Networks"
V15 = "He et al. 2015; stride in the 3x3 as in fb.resnet.torch and torchvision"
TRICKS = "He et al. 2018, Bag of Tricks for Image Classification"
WIDE = "Zagoruyko and Komodakis 2016, Wide Residual Networks"
NEXT = "Xie et al. 2017, Aggregated Residual Transformations"
SE = "Hu et al. 2018, Squeeze-and-Excitation Networks"
CBAM = "Woo et al. 2018, Convolutional Block Attention Module"
HIGHWAY = "Srivastava et al. 2015, Training Very Deep Networks"
AIRBENCH = "Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU; with shortcuts"
KERAS1 = "Keras Applications, keras/src/applications/resnet.py"
KERAS2 = "Keras Applications, keras/src/applications/resnet_v2.py"
# These two documents name no author and no address.
TUTORIAL = 'article "ResNet"; Keras code and layer table of its section "Implementation"'
NOTES = 'lecture notes "Residual Networks (ResNet)"; their list of the stages of ResNet-50'
NOTES_CODE = 'lecture notes "Residual Networks (ResNet)"; code of "Implementation of ResNet50 Using Keras"'


@dataclass(frozen=True)
class Entry:
    """A network of the zoo."""

    spec: ResNetSpec  # what to build
    paper: str  # the paper or source file that it follows
    parameters: int  # number of trainable parameters, for the specification's `num_classes`
    multiply_adds: int  # of convolutions and linear layers, for one image of `imgsz` x `imgsz` pixels
    error: str = ""  # the published error in percent with its protocol; empty where no source states one

    @property
    def imgsz(self) -> int:
        """Height and width in pixels for which `multiply_adds` is given."""
        return self.spec.imgsz


@cache
def entries() -> dict[str, Entry]:
    """The whole zoo by name, in the order of the families."""
    return {
        name: Entry(replace(spec, name=name), paper, parameters, multiply_adds, error)
        for name, parameters, multiply_adds, spec, paper, error in _table()
    }


@cache
def specs() -> dict[str, ResNetSpec]:
    """The specifications of the whole zoo by name."""
    return {name: entry.spec for name, entry in entries().items()}


def list_models(pattern: str = "*") -> list[str]:
    """The names of the networks that match a pattern such as "cifar_*"; a pattern without a wildcard matches any substring."""
    return match_names(entries(), pattern)


def match_names(names: Iterable[str], pattern: str) -> list[str]:
    """Those of the names that match a pattern, as of `list_models`."""
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return [name for name in names if fnmatch.fnmatchcase(name, pattern.lower())]


def find(name: str) -> Entry:
    """The network of that name; an unknown name is a UserError that suggests the nearest."""
    if not isinstance(name, str):
        raise UserError(f"The name of a network is a string such as 'resnet50'; received {name!r}.")
    if name not in entries():
        raise UserError(near_names.describe_unknown(name, specs()))
    return entries()[name]


def get_spec(name: str, *, num_classes: int | None = None, in_channels: int = 3, **overrides: Any) -> ResNetSpec:
    """The specification of a network of the zoo, with changes.

    Args:
        name: a name that `list_models` returns.
        num_classes: number of outputs; None for the network's own (1000 for ImageNet, 10 for CIFAR).
        in_channels: channels of the image.
        overrides: other fields of `ResNetSpec`, such as `stem="cifar"`, `shortcut="A"` or `drop_path_rate=0.2`.

    Returns:
        The specification, which `build_network.build` makes into a network.

    Raises:
        UserError: an unknown name or field (the message suggests the nearest), or a value that does not fit.
    """
    base = find(name).spec
    known = [field.name for field in dataclasses.fields(ResNetSpec) if field.name != "name"]
    for key in overrides:
        if key not in known:
            raise UserError(f"A network has no setting '{key}'.{suggestion(key, known)} It has: {', '.join(known)}.")
    return replace(
        base, num_classes=base.num_classes if num_classes is None else num_classes, in_channels=in_channels, **overrides
    )


def build(name: str, *, num_classes: int | None = None, in_channels: int = 3, **overrides: Any) -> ResNet:
    """A freshly initialized network, such as `build("resnet50", num_classes=5)`. Arguments and errors as of `get_spec`.

    It maps images (N, in_channels, H, W), float, to logits (N, num_classes).
    """
    return build_spec(get_spec(name, num_classes=num_classes, in_channels=in_channels, **overrides))


BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
UNNAMED = ResNetSpec("")  # a row of the table gives the name


def _imagenet(depth: int, **changes: Any) -> ResNetSpec:
    if depth in BASIC:
        return replace(UNNAMED, num_blocks=BASIC[depth], **changes)
    channels = {"out_channels": (256, 512, 1024, 2048), "mid_channels": (64, 128, 256, 512)}
    return replace(UNNAMED, num_blocks=BOTTLENECK[depth], branch="bottleneck", **{**channels, **changes})


def _grouped(depth: int, *, groups: int, width: int) -> ResNetSpec:
    return _imagenet(depth, groups=groups, mid_channels=tuple(groups * width * 2**stage for stage in range(4)))


def _keras(depth: int, **changes: Any) -> ResNetSpec:
    # eps and the biases: keras/src/applications/resnet.py. Keras' default momentum of 0.99 is torch's 0.01.
    keras = {"stem": "keras", "stride_at": "1x1", "bias": "all", "norm_eps": 1.001e-5, "norm_momentum": 0.01}
    return _imagenet(depth, **{**keras, "initialization": "xavier", **changes})


def _keras_v2(depth: int) -> ResNetSpec:
    return _keras(
        depth, preactivation=True, stem_preact=True, stride_at="3x3", strides=(2, 2, 2, 1), downsample_block="last",
        bias="outer",
    )  # fmt: skip


def _equal_stages(depth: int, per_block: int, others: int) -> tuple[int, int, int]:
    """`num_blocks` of the three equal stages of a CIFAR network."""
    assert (depth - others) % (3 * per_block) == 0, depth
    n = (depth - others) // (3 * per_block)
    return n, n, n


def _cifar(depth: int, **changes: Any) -> ResNetSpec:
    paper = {"stem": "cifar", "stem_channels": 16, "out_channels": (16, 32, 64), "strides": (1, 2, 2), "shortcut": "A"}
    return replace(
        UNNAMED, **{"num_classes": 10, "imgsz": 32, "num_blocks": _equal_stages(depth, 2, 2), **paper, **changes}
    )


def _cifar_bottleneck(depth: int) -> ResNetSpec:
    # resnet-pre-act.lua: 16 channels become 64 in the first stage.
    return _cifar(
        20, num_blocks=_equal_stages(depth, 3, 2), branch="bottleneck", out_channels=(64, 128, 256), mid_channels=(16, 32, 64),
        preactivation=True, stride_at="1x1", shortcut="B",
    )  # fmt: skip


def _cifar_highway(depth: int) -> ResNetSpec:
    # One 3x3 per block, so that each layer has a gate. Srivastava et al. 2015, section 3.1, recommend a bias of -1, -2 and -3
    # for convolutional highways of about 10, 20 and 30 layers; the rule is extended to -6, the best value of He et al. 2016
    # (table 1) for 110 layers.
    gate_bias = -min(round(depth / 10), 6)
    return _cifar(
        20, num_blocks=_equal_stages(depth, 1, 2), block="highway", branch="single", gate_bias=float(gate_bias)
    )


def _cifar_wide(depth: int, *, width: int) -> ResNetSpec:
    # Its 6n+4 layers count the projection of each stage.
    out_channels = (16 * width, 32 * width, 64 * width)
    return _cifar(
        20, num_blocks=_equal_stages(depth, 2, 4), out_channels=out_channels, preactivation=True, shortcut="B"
    )


def _tutorial(**changes: Any) -> ResNetSpec:
    # The article's functions identity_block, conv_block and resnet50, with Keras' own defaults: eps 1e-3, momentum 0.99.
    return _keras(50, **{"stem": "valid", "norm_eps": 1e-3, "pool": "max", **changes})


def _notes_list() -> ResNetSpec:
    # The notes give no image size; their 2x2 average before the flatten leaves one position for images of 64x64. ReLU follows
    # each norm, as in their code.
    return _tutorial(stem="notes", imgsz=64, pool="window", pool_window=2)


def _notes_code() -> ResNetSpec:
    # conv_block's default stride of 2 holds in every stage, the first too. The third stage has the six blocks of the notes'
    # list; their code prints one identity block fewer, which is num_blocks=(3, 4, 5, 3).
    return _imagenet(
        34, stem="same", strides=(2, 2, 2, 2), bias="all", same_padding=True, norm_eps=1e-3, norm_momentum=0.01,
        pool="window", pool_window=4, initialization="xavier",
    )  # fmt: skip


def _cifar_fast() -> ResNetSpec:
    # Groups of KellerJordan/cifar10-airbench's airbench96, with an identity shortcut: 31 -> 15 -> 7 -> 3 positions. Its momentum
    # of 0.6 is torch's 0.4.
    return _cifar(
        20, num_blocks=(2, 2, 2), stem="whiten", stem_channels=24, out_channels=(64, 192, 256), strides=(2, 2, 2), shortcut="B",
        downsample="pool", act="gelu", norm_scale=False, norm_eps=1e-12, norm_momentum=0.4, pool="max", initialization="dirac",
    )  # fmt: skip


def _tiny() -> ResNetSpec:
    return _cifar(8, out_channels=(16, 24, 48), strides=(2, 2, 2), shortcut="B")


# fmt: off
def _table() -> tuple[tuple[str, int, int, ResNetSpec, str, str], ...]:
    """Name, parameters, multiply-adds, specification, paper, published error; tests/contracts/test_zoo.py proves them."""
    return (
        ("resnet18",             11_689_512,  1_814_073_344, _imagenet(18), V15,
         "30.24 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnet34",             21_797_672,  3_663_761_408, _imagenet(34), V15,
         "26.69 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnet50",             25_557_032,  4_089_184_256, _imagenet(50), V15,
         "23.87 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnet101",            44_549_160,  7_801_405_440, _imagenet(101), V15,
         "22.63 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnet152",            60_192_808, 11_513_626_624, _imagenet(152), V15,
         "21.69 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnet34_a",           21_623_848,  3_644_493_824, _imagenet(34, shortcut="A"), HE15,
         "25.03 top-1, 7.76 top-5, 10-crop"),
        ("resnet34_c",           22_716_840,  3_830_747_136, _imagenet(34, shortcut="C"), HE15,
         "24.19 top-1, 7.40 top-5, 10-crop"),
        ("resnet50_v1",          25_557_032,  3_857_973_248, _imagenet(50, stride_at="1x1"), HE15,
         "22.85 top-1, 6.71 top-5, 10-crop"),
        ("resnet101_v1",         44_549_160,  7_570_194_432, _imagenet(101, stride_at="1x1"), HE15,
         "21.75 top-1, 6.05 top-5, 10-crop"),
        ("resnet152_v1",         60_192_808, 11_282_415_616, _imagenet(152, stride_at="1x1"), HE15,
         "21.43 top-1, 5.71 top-5, 10-crop"),
        ("resnet50_v2",          25_549_352,  3_857_973_248, _imagenet(50, stride_at="1x1", preactivation=True), HE16,
         ""),
        ("resnet101_v2",         44_541_480,  7_570_194_432, _imagenet(101, stride_at="1x1", preactivation=True), HE16,
         ""),
        ("resnet152_v2",         60_185_128, 11_282_415_616, _imagenet(152, stride_at="1x1", preactivation=True), HE16,
         "21.1 top-1, 5.5 top-5, 1-crop 320"),
        ("resnet200_v2",         64_666_152, 14_776_270_848, _imagenet(200, stride_at="1x1", preactivation=True), HE16,
         "20.7 top-1, 5.3 top-5, 1-crop 320"),
        ("resnet50c",            25_576_264,  4_328_824_832, _imagenet(50, stem="deep"), TRICKS,
         "22.99 top-1, 1-crop 224, mmpretrain"),
        ("resnet50d",            25_576_264,  4_328_824_832, _imagenet(50, stem="deep", shortcut="D"), TRICKS,
         "22.46 top-1, 1-crop 224, mmpretrain"),
        ("resnet101d",           44_568_392,  8_041_046_016, _imagenet(101, stem="deep", shortcut="D"), TRICKS, ""),
        ("resnet152d",           60_212_040, 11_753_267_200, _imagenet(152, stem="deep", shortcut="D"), TRICKS, ""),
        ("wide_resnet50_2",      68_883_240, 11_398_021_120, _grouped(50, groups=1, width=128), WIDE,
         "21.9 top-1, 1-crop"),
        ("wide_resnet101_2",    126_886_696, 22_753_050_624, _grouped(101, groups=1, width=128), WIDE,
         "21.15 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnext50_32x4d",      25_028_904,  4_230_479_872, _grouped(50, groups=32, width=4), NEXT,
         "22.2 top-1, 1-crop"),
        ("resnext101_32x8d",     88_791_336, 16_414_015_488, _grouped(101, groups=32, width=8), NEXT,
         "20.69 top-1, 1-crop 224, torchvision V1 weights"),
        ("resnext101_64x4d",     83_455_272, 15_460_270_080, _grouped(101, groups=64, width=4), NEXT,
         "20.4 top-1, 1-crop"),
        ("se_resnet18",          11_779_624,  1_814_161_408, _imagenet(18, attention="se"), SE, ""),
        ("se_resnet34",          21_960_416,  3_663_920_128, _imagenet(34, attention="se"), SE, ""),
        ("se_resnet50",          28_088_024,  4_091_699_200, _imagenet(50, attention="se"), SE,
         "22.37 top-1, 6.36 top-5, 1-crop, authors' retraining"),
        ("se_resnet101",         49_326_872,  7_806_148_608, _imagenet(101, attention="se"), SE,
         "21.75 top-1, 5.72 top-5, 1-crop, authors' retraining"),
        ("se_resnet152",         66_821_848, 11_520_204_800, _imagenet(152, attention="se"), SE,
         "21.34 top-1, 5.54 top-5, 1-crop, authors' retraining"),
        ("cbam_resnet18",        11_779_392,  1_815_063_764, _imagenet(18, attention="cbam"), CBAM, ""),
        ("cbam_resnet34",        21_960_468,  3_665_434_742, _imagenet(34, attention="cbam"), CBAM, ""),
        ("cbam_resnet50",        28_089_624,  4_095_573_110, _imagenet(50, attention="cbam"), CBAM,
         "22.38 top-1, 6.05 top-5, authors' repository"),
        ("cbam_resnet101",       49_330_172,  7_812_577_278, _imagenet(101, attention="cbam"), CBAM, ""),
        ("plain18",              11_515_688,  1_794_805_760, _imagenet(18, block="plain"), HE15,
         "27.94 top-1, 10-crop"),
        ("plain34",              21_623_848,  3_644_493_824, _imagenet(34, block="plain"), HE15,
         "28.54 top-1, 10.02 top-5, 10-crop"),
        ("keras_resnet50",       25_583_592,  3_857_973_248, _keras(50), KERAS1, "25.1 top-1, 7.9 top-5, keras.io"),
        ("keras_resnet101",      44_601_832,  7_570_194_432, _keras(101), KERAS1, "23.6 top-1, 7.2 top-5, keras.io"),
        ("keras_resnet152",      60_268_520, 11_282_415_616, _keras(152), KERAS1, "23.4 top-1, 6.9 top-5, keras.io"),
        ("keras_resnet50v2",     25_568_360,  3_482_255_360, _keras_v2(50), KERAS2, "24.0 top-1, 7.0 top-5, keras.io"),
        ("keras_resnet101v2",    44_577_896,  7_194_476_544, _keras_v2(101), KERAS2, "22.8 top-1, 6.2 top-5, keras.io"),
        ("keras_resnet152v2",    60_236_904, 10_906_697_728, _keras_v2(152), KERAS2, "22.0 top-1, 5.8 top-5, keras.io"),
        ("cifar_resnet20",          269_722,     40_551_040, _cifar(20), HE15, "8.75, CIFAR-10 test"),
        ("cifar_resnet32",          464_154,     68_862_592, _cifar(32), HE15, "7.51, CIFAR-10 test"),
        ("cifar_resnet44",          658_586,     97_174_144, _cifar(44), HE15, "7.17, CIFAR-10 test"),
        ("cifar_resnet56",          853_018,    125_485_696, _cifar(56), HE15, "6.97, CIFAR-10 test"),
        ("cifar_resnet110",       1_727_962,    252_887_680, _cifar(110), HE15,
         "6.61, CIFAR-10 test, mean of 5 runs (best 6.43)"),
        ("cifar_resnet1202",     19_421_274,  2_829_238_912, _cifar(1202), HE15, "7.93, CIFAR-10 test"),
        ("cifar_plain20",           269_722,     40_551_040, _cifar(20, block="plain"), HE15, ""),
        ("cifar_plain32",           464_154,     68_862_592, _cifar(32, block="plain"), HE15, ""),
        ("cifar_plain44",           658_586,     97_174_144, _cifar(44, block="plain"), HE15, ""),
        ("cifar_plain56",           853_018,    125_485_696, _cifar(56, block="plain"), HE15, ""),
        ("cifar_plain110",        1_727_962,    252_887_680, _cifar(110, block="plain"), HE15,
         "over 60, CIFAR-10 test"),
        ("cifar_preresnet110",    1_727_962,    252_887_680, _cifar(110, preactivation=True), HE16,
         "6.37, CIFAR-10 test"),
        ("cifar_preresnet164",    1_703_258,    244_500_992, _cifar_bottleneck(164), HE16,
         "5.46, CIFAR-10 test, median of 5"),
        ("cifar_preresnet1001",  10_327_706,  1_487_849_984, _cifar_bottleneck(1001), HE16,
         "4.92, CIFAR-10 test, median of 5"),
        ("cifar_highway20",         514_522,     78_299_776, _cifar_highway(20), HIGHWAY, ""),
        ("cifar_highway32",         902_938,    134_922_880, _cifar_highway(32), HIGHWAY, ""),
        ("cifar_highway56",       1_679_770,    248_169_088, _cifar_highway(56), HIGHWAY, ""),
        ("cifar_highway110",      3_427_642,    502_973_056, _cifar_highway(110), HIGHWAY, ""),
        ("wrn_16_8",             10_961_370,  1_548_145_664, _cifar_wide(16, width=8), WIDE, ""),
        ("wrn_28_10",            36_479_194,  5_243_328_768, _cifar_wide(28, width=10), WIDE,
         "4.00, CIFAR-10 test, median of 5"),
        ("wrn_40_4",              8_949_210,  1_298_582_016, _cifar_wide(40, width=4), WIDE, ""),
        ("cifar_fast",             2_487_842,    119_843_104, _cifar_fast(), AIRBENCH, ""),
        ("tutorial_resnet50",    25_583_592,  3_738_194_624, _tutorial(), TUTORIAL, ""),
        ("notes_resnet50",       25_583_592,    310_214_656, _notes_list(), NOTES, ""),
        ("notes_basic_resnet",   21_810_472,  1_057_198_080, _notes_code(), NOTES_CODE, ""),
        ("tiny",                     47_626,      2_781_664, _tiny(), "none; small and quick, for tests", ""),
    )
