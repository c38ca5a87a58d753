"""What every network of the zoo promises, whatever its paper."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import nn

from resnets.models import summary, zoo
from resnets.models.resnet import ResNet

NAMES = zoo.names()
WINDOW = [name for name in NAMES if zoo.spec(name).pool == "window"]  # made for pictures of one size
ANY_SIZE = [name for name in NAMES if name not in WINDOW]

# Read off torchvision, timm and Keras, or computed from the papers' layer tables: name -> parameters and thousand
# million multiply-adds of convolutions and dense layers, at 224x224 (CIFAR's at 32x32).
KNOWN = {
    "resnet18": (11_689_512, 1.814), "resnet34": (21_797_672, 3.664), "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801), "resnet152": (60_192_808, 11.514), "resnext50_32x4d": (25_028_904, 4.230),
    "resnext101_32x8d": (88_791_336, 16.414), "resnext101_64x4d": (83_455_272, 15.460),
    "wide_resnet50_2": (68_883_240, 11.398), "wide_resnet101_2": (126_886_696, 22.753),
    "resnet50_v1": (25_557_032, 3.858), "resnet101_v1": (44_549_160, 7.570), "resnet152_v1": (60_192_808, 11.282),
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
# Keras counts the moving means and variances, too: total, and what is not trained.
KERAS_TOTALS = {
    "keras_resnet50": (25_636_712, 53_120), "keras_resnet101": (44_707_176, 105_344),
    "keras_resnet152": (60_419_944, 151_424), "keras_resnet50v2": (25_613_800, 45_440),
    "keras_resnet101v2": (44_675_560, 97_664), "keras_resnet152v2": (60_380_648, 143_744),
    "tutorial_resnet50": (25_636_712, 53_120), "notes_basic_resnet": (21_827_624, None),
}  # fmt: skip


@cache
def outline(name: str) -> ResNet:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return zoo.create(name).eval()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_multiply_adds_are_those_of_the_table(name):
    entry, net = zoo.find(name), outline(name)
    assert sum(parameter.numel() for parameter in net.parameters()) == entry.parameters
    assert summary.multiply_adds(net, entry.imgsz) == entry.multiply_adds


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_and_multiply_adds_are_those_known_elsewhere(name):
    parameters, multiply_adds = KNOWN[name]
    assert zoo.find(name).parameters == parameters
    if multiply_adds is not None:
        assert zoo.find(name).multiply_adds / 1e9 == pytest.approx(multiply_adds, rel=5e-4)


@pytest.mark.parametrize("name", KERAS_TOTALS)
def test_keras_totals(name):
    totals, (total, fixed) = summary.totals(outline(name)), KERAS_TOTALS[name]
    assert totals.parameters == total
    assert fixed is None or totals.non_trainable == fixed


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize("in_channels", [1, 4])
def test_any_size_any_channels_any_classes(name, in_channels):
    with torch.device("meta"):
        net = zoo.create(name, classes=7, in_channels=in_channels).eval()
        x = torch.empty(2, in_channels, net.min_side + 13, net.min_side + 6)
    maps = net.features(x)
    assert list(maps) == list(net.channels) == list(net.strides)
    for stage, map_ in maps.items():
        assert map_.shape[:2] == (2, net.channels[stage])
        for have, side in zip(map_.shape[2:], x.shape[2:], strict=True):
            # Padding that is valid, not same, costs the tutorial's network a row or two.
            assert have == math.ceil(side / net.strides[stage]) or (name == "tutorial_resnet50" and have > 0)
    assert net.embed(x).shape == (2, net.head.features)
    assert net(x).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_below_the_least_side_is_refused_with_its_size(name):
    net = outline(name)
    least = net.min_side
    net(torch.empty(1, 3, least, least, device="meta"))
    for height, width in ((least - 1, least), (least, least - 1)):
        for answer in (net, net.features, net.embed):
            with pytest.raises(ValueError, match=f"{height}x{width}"):
                answer(torch.empty(1, 3, height, width, device="meta"))


@pytest.mark.parametrize("name", WINDOW)
def test_a_fixed_window_takes_one_size_and_says_so(name):
    net = outline(name)
    with pytest.raises(ValueError, match=str(net.only_side)):
        net(torch.empty(1, 3, 3 * net.min_side, 3 * net.min_side, device="meta"))


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_traced(name):
    if zoo.spec(name).depths[0] > 30:
        pytest.skip("the same blocks as a shallower one, many times")
    traced = torch.fx.symbolic_trace(outline(name))
    side = zoo.find(name).imgsz
    assert traced(torch.empty(1, 3, side, side, device="meta")).shape == (1, zoo.spec(name).classes)


def shallow(name: str, **overrides: object) -> ResNet:
    """The network with at most two blocks a stage, and memory."""
    depths = tuple(min(depth, 2) for depth in zoo.spec(name).depths)
    torch.manual_seed(0)
    return zoo.create(name, classes=3, depths=depths, **overrides)


# One depth of each family: the others repeat its blocks.
FAMILIES = [
    *("resnet18", "resnet50", "resnet50_v1", "resnet50_v2", "resnet34_a", "resnet34_c", "resnet50c", "resnet50d"),
    *("wide_resnet50_2", "resnext50_32x4d", "se_resnet18", "se_resnet50", "cbam_resnet18", "cbam_resnet50", "plain18"),
    *("keras_resnet50", "keras_resnet50v2", "cifar_resnet20", "cifar_plain20", "cifar_preresnet110"),
    *("cifar_preresnet164", "cifar_highway20", "wrn_16_8", "tutorial_resnet50", "notes_resnet50"),
    *("notes_basic_resnet", "tiny"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_learns(name):
    net = shallow(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # CBAM's spatial gate begins at 0, and nothing before it would learn yet
    side = net.only_side or max(net.min_side, 33)
    net(torch.randn(4, 3, side, side)).logsumexp(1).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    # A bias before a normalisation has a gradient of zero, but no weight of a convolution has.
    weights = {key: module.weight for key, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    assert [key for key, weight in weights.items() if not weight.grad.any()] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_depends_on_its_picture_alone(name):
    net = shallow(name).double().eval()
    side = net.only_side or max(net.min_side, 37)
    x = torch.randn(3, 3, side, side, dtype=torch.float64)
    with torch.inference_mode():
        together, alone = net(x), torch.cat([net(picture[None]) for picture in x])
        last = net.features(x)[list(net.channels)[-1]]
        assert torch.allclose(together, alone, atol=1e-9)
        assert torch.allclose(net.head(last), together, atol=1e-12)
        assert torch.allclose(net.head.embed(last), net.embed(x), atol=1e-12)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_come_back_from_their_names(name):
    net, other = shallow(name), shallow(name)
    with torch.no_grad():
        for tensor in other.state_dict().values():
            tensor.zero_()
    other.load_state_dict(net.state_dict(), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
