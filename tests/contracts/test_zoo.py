"""What every network of the zoo promises, whatever its paper."""

from __future__ import annotations

import copy
import math
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
import torch
from tests.in_soak import IN_SOAK, only_in_soak
from torch import Tensor, nn

from resnets.models import spec, zoo
from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.models.summary import layer_table

NAMES = zoo.list_models()
WINDOW = [name for name in NAMES if zoo.get_spec(name).pool == "window"]  # made for images of one size

# Read off torchvision 0.29, timm 1.0.31 and Keras 3.15.1, or computed from the papers' layer tables: name -> parameters and
# thousand million multiply-adds of convolutions and dense layers, at 224x224 (CIFAR's at 32x32).
KNOWN = {
    "resnet18": (11_689_512, 1.814), "resnet34": (21_797_672, 3.664), "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801), "resnet152": (60_192_808, 11.514), "resnext50_32x4d": (25_028_904, 4.230),
    "resnext101_32x8d": (88_791_336, 16.414), "resnext101_64x4d": (83_455_272, 15.460),
    "wide_resnet50_2": (68_883_240, 11.398), "wide_resnet101_2": (126_886_696, 22.753),
    "resnet50_v1": (25_557_032, 3.858), "resnet101_v1": (44_549_160, 7.570), "resnet152_v1": (60_192_808, 11.282),
    "resnet50_v2": (25_549_352, None), "resnet101_v2": (44_541_480, None), "resnet152_v2": (60_185_128, None),
    "resnet50c": (25_576_264, 4.329), "resnet50d": (25_576_264, 4.329), "resnet101d": (44_568_392, 8.041),
    "resnet152d": (60_212_040, 11.753), "se_resnet18": (11_779_624, None), "se_resnet34": (21_960_416, None),
    "se_resnet50": (28_088_024, 4.092), "se_resnet101": (49_326_872, None), "se_resnet152": (66_821_848, None),
    "keras_resnet50": (25_583_592, 3.858), "keras_resnet101": (44_601_832, 7.570),
    "keras_resnet152": (60_268_520, 11.282), "keras_resnet50v2": (25_568_360, 3.482),
    "keras_resnet101v2": (44_577_896, 7.194), "keras_resnet152v2": (60_236_904, 10.907),
    "cifar_resnet20": (269_722, 0.04055), "cifar_resnet32": (464_154, 0.06886), "cifar_resnet44": (658_586, 0.09717),
    "cifar_resnet56": (853_018, 0.12549), "cifar_resnet110": (1_727_962, 0.25289),
    "cifar_resnet1202": (19_421_274, 2.82924), "cifar_preresnet164": (1_703_258, None),
    "cifar_preresnet1001": (10_327_706, None), "wrn_28_10": (36_479_194, None), "wrn_40_4": (8_949_210, None),
    "wrn_16_8": (10_961_370, None), "tutorial_resnet50": (25_583_592, None),
}  # fmt: skip
# The same sources, where a setting or the number of classes is another than the zoo's.
CHANGED = [
    ("cifar_resnet20", {"num_classes": 100}, 275_572, None), ("cifar_resnet56", {"num_classes": 100}, 858_868, None),
    ("cifar_resnet110", {"num_classes": 100}, 1_733_812, None), ("wrn_28_10", {"num_classes": 100}, 36_536_884, None),
    ("wrn_40_4", {"out_channels": (160, 320, 640)}, 55_841_754, None),
    ("cifar_resnet20", {"shortcut": "B"}, 269_722 + 2_752, None),
    ("cifar_resnet110", {"shortcut": "B"}, 1_727_962 + 2_752, None),
    ("resnet18", {"preactivation": True}, 11_687_720, None), ("resnet34", {"preactivation": True}, 21_795_880, None),
    ("resnet50_v2", {"stride_at": "3x3"}, 25_549_352, 4.089),
    pytest.param("resnet101_v2", {"stride_at": "3x3"}, 44_541_480, 7.801, marks=only_in_soak("1 s")),
    pytest.param("resnet152_v2", {"stride_at": "3x3"}, 60_185_128, 11.514, marks=only_in_soak("1 s")),
    ("resnet50_v2", {"stride_at": "3x3", "stem": "deep", "shortcut": "D"}, 25_568_584, 4.329),
]  # fmt: skip
# Keras counts the moving means and variances, too: total, what is not trained, and the total without the top.
KERAS_TOTALS = {
    "keras_resnet50": (25_636_712, 53_120, 23_587_712), "keras_resnet101": (44_707_176, 105_344, 42_658_176),
    "keras_resnet152": (60_419_944, 151_424, 58_370_944), "keras_resnet50v2": (25_613_800, 45_440, 23_564_800),
    "keras_resnet101v2": (44_675_560, 97_664, 42_626_560), "keras_resnet152v2": (60_380_648, 143_744, 58_331_648),
    "tutorial_resnet50": (25_636_712, 53_120, 23_587_712), "notes_basic_resnet": (21_827_624, 17_152, None),
}  # fmt: skip


@cache
def outline(name: str) -> ResNet:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return zoo.build(name).eval()


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_and_multiply_adds_are_those_known_elsewhere(name):
    parameters, multiply_adds = KNOWN[name]
    assert zoo.find(name).parameters == parameters
    if multiply_adds is not None:
        assert zoo.find(name).multiply_adds / 1e9 == pytest.approx(multiply_adds, rel=5e-4)


@pytest.mark.parametrize(("name", "changes", "parameters", "multiply_adds"), CHANGED)
def test_parameters_and_multiply_adds_of_a_changed_network(name, changes, parameters, multiply_adds):
    with torch.device("meta"):
        net = zoo.build(name, **changes).eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    if multiply_adds is not None:
        assert layer_table.multiply_adds(net, 224) / 1e9 == pytest.approx(multiply_adds, rel=5e-4)


@pytest.mark.parametrize("name", KERAS_TOTALS)
def test_keras_totals(name):
    net, (total, fixed, headless) = outline(name), KERAS_TOTALS[name]
    assert layer_table.totals(net) == layer_table.Totals(total, zoo.find(name).parameters, fixed)
    assert headless is None or layer_table.totals(net.backbone()).parameters == headless


def shallow(name: str, blocks: int, **changes: Any) -> spec.ResNetSpec:
    """The network's specification with at most so many blocks a stage."""
    num_blocks = tuple(min(depth, blocks) for depth in zoo.get_spec(name).num_blocks)
    return zoo.get_spec(name, num_blocks=num_blocks, **changes)


def families() -> list[str]:
    """One network of each kind, the first: what it leaves out repeats its blocks, or has another bias in its gates."""
    kinds: dict[spec.ResNetSpec, str] = {}
    for name in NAMES:
        kinds.setdefault(replace(shallow(name, 2), name="", gate_bias=0.0), name)
    return list(kinds.values())


NUMBERS = {"name", "num_blocks", "stem_channels", "out_channels", "mid_channels", "imgsz", "gate_bias", "groups"}


def first_of_each_setting(names: list[str]) -> list[str]:
    """Those of the networks that have a value of a setting, or an order of layers in their branches, that none before has."""
    known: set[tuple[str, str]] = set()
    chosen = []
    for name in names:
        spec = zoo.get_spec(name)
        values = {(each.name, str(getattr(spec, each.name))) for each in fields(spec) if each.name not in NUMBERS}
        values |= {("grouped", str(spec.groups > 1)), (spec.branch, str(spec.preactivation))}
        if values - known:
            chosen.append(name)
        known |= values
    return chosen


FAMILIES = families()
KINDS = FAMILIES if IN_SOAK else first_of_each_setting(FAMILIES)


def test_no_kind_of_network_is_left_out():
    assert len(FAMILIES) == 32
    assert {"resnet18", "resnet50", "resnext101_32x8d", "cifar_highway20", "wrn_40_4", "cifar_fast", "tiny"} <= set(
        FAMILIES
    )
    assert not {"resnet34", "resnet152", "cifar_resnet1202", "cifar_highway110"} & set(FAMILIES)
    first = first_of_each_setting(FAMILIES)
    assert len(first) == 21
    assert {"resnet18", "resnext50_32x4d", "se_resnet18", "cifar_preresnet110", "cifar_highway20", "cifar_fast"} < set(
        first
    )


@pytest.mark.parametrize("name", NAMES if IN_SOAK else [*KINDS, "resnet34"])
def test_parameters_and_multiply_adds_are_those_of_the_table(name):
    """Of one network of each kind and one that is deeper, and of all in `make soak`."""
    entry, net = zoo.find(name), outline(name)
    assert sum(parameter.numel() for parameter in net.parameters()) == entry.parameters
    assert layer_table.multiply_adds(net, entry.imgsz) == entry.multiply_adds


def check_every_way_out(net: ResNet, x: Tensor, *, valid_padding: bool) -> None:
    maps = net.features(x)
    assert list(maps) == list(net.feature_channels) == list(net.feature_strides)
    for stage, map_ in maps.items():
        assert map_.shape[:2] == (len(x), net.feature_channels[stage])
        for have, side in zip(map_.shape[2:], x.shape[2:], strict=True):
            # Padding that is valid, not same, costs the tutorial's network a row or two.
            assert have == math.ceil(side / net.feature_strides[stage]) or (valid_padding and have > 0)
    assert net.forward_pooled(x).shape == (len(x), net.head.in_features)
    assert net(x).shape == (len(x), 7)


@pytest.mark.parametrize(("name", "in_channels"), [("resnet18", 1), *((name, 4) for name in KINDS)])
def test_any_size_any_channels_and_any_classes(name, in_channels):
    with torch.device("meta"):
        net = build(shallow(name, 2, num_classes=7, in_channels=in_channels)).eval()
        height, width = (net.fixed_size or net.min_size + extra for extra in (13, 6))
        x = torch.empty(2, in_channels, height, width)
    check_every_way_out(net, x, valid_padding=zoo.get_spec(name).stem in ("valid", "notes", "whiten"))


@pytest.mark.parametrize("name", KINDS)
def test_an_image_below_the_least_side_is_refused_with_its_size(name):
    with torch.device("meta"):
        net = build(shallow(name, 2)).eval()
    least = net.min_size
    assert least == outline(name).min_size
    net(torch.empty(1, 3, least, least, device="meta"))
    for height, width in ((least - 1, least), (least, least - 1)):
        for answer in (net, net.features, net.forward_pooled):
            with pytest.raises(ValueError, match=f"{height}x{width}"):
                answer(torch.empty(1, 3, height, width, device="meta"))


@pytest.mark.parametrize("name", WINDOW)
def test_a_fixed_window_takes_one_size_and_says_so(name):
    net = outline(name)
    with pytest.raises(ValueError, match=str(net.fixed_size)):
        net(torch.empty(1, 3, 3 * net.min_size, 3 * net.min_size, device="meta"))


@pytest.mark.parametrize("name", KINDS)
def test_it_can_be_traced(name):
    net = made(name)
    side = net.fixed_size or net.min_size + 5
    x = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        assert torch.equal(torch.fx.symbolic_trace(net)(x), net(x))


@cache
def made(name: str) -> ResNet:
    """The network with one block of each shape, three classes, and memory; in evaluation."""
    torch.manual_seed(0)
    num_stages = len(zoo.get_spec(name).num_blocks)
    return build(zoo.get_spec(name, num_blocks=(2, *[1] * (num_stages - 1)), num_classes=3)).eval()


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_learns(name):
    net = copy.deepcopy(made(name)).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # CBAM's spatial gate begins at 0, and nothing before it would learn yet
    side = net.fixed_size or max(net.min_size, 33)
    net(torch.randn(4, 3, side, side)).logsumexp(1).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    # A bias before a normalization has a gradient of zero, but no weight has.
    weights = {key: value for key, value in net.named_parameters() if key.endswith("weight")}
    assert [key for key, weight in weights.items() if not weight.grad.any()] == []


@pytest.mark.parametrize("name", KINDS)
def test_an_answer_depends_on_its_image_alone(name):
    net = made(name)
    side = net.fixed_size or max(net.min_size, 37)
    x = torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together, alone = net(x), torch.cat([net(image[None]) for image in x])
        last = net.features(x)[list(net.feature_channels)[-1]]
        scale = together.abs().max()
        assert (together - alone).abs().max() < 1e-4 * scale
        assert torch.equal(net.pool(last).flatten(1), net.forward_pooled(x))
        assert torch.equal(net.head(net.forward_pooled(x)), together)
        # No block writes into what it was given.
        assert torch.equal(net.features(x)["stem"], net.stem(x))
        assert torch.equal(net.features(x)["stage1"], net.stages["stage1"](net.stem(x)))
    assert (together[0] - together[1]).abs().max() > 1e-3 * scale


@pytest.mark.parametrize("name", KINDS)
def test_weights_come_back_from_their_names(name):
    net = made(name)
    other = copy.deepcopy(net)
    for tensor in other.state_dict().values():
        tensor.zero_()
    other.load_state_dict(net.state_dict(), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
