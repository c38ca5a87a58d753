"""Dilation in place of strides computes the network's function at more positions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from resnets.models import zoo
from resnets.models.backbone import Backbone
from resnets.models.build_network import build
from resnets.models.dilation import dilate
from resnets.models.spec import ResNetSpec

CASES = {
    "resnet18": {},
    "resnet50": {},
    "resnet50_v1": {},
    "resnet50d": {},
    "resnet50_v2": {},
    "resnext50_32x4d": {"groups": 4, "mid_channels": (4, 8, 8, 16)},
    "plain18": {},
    "keras_resnet50": {},
    "keras_resnet50v2": {},
    "tutorial_resnet50": {},
    "notes_basic_resnet": {},
    "cifar_highway20": {"stem": "imagenet", "num_blocks": (1, 2, 2, 2), "strides": (1, 2, 2, 2)},
}


def small(name: str, **changes: object) -> nn.Module:
    """The network with few channels and at most two blocks a stage, whose statistics are not those of a new one."""
    spec = zoo.find(name).spec
    depth = min(2, max(spec.num_blocks))
    sizes = {"stem_channels": 8, "out_channels": (8, 16, 24, 32), "num_blocks": (depth,) * 4}
    if spec.mid_channels:
        sizes["mid_channels"] = (4, 4, 8, 8)
    torch.manual_seed(0)
    net = zoo.build(name, **{**sizes, **changes})
    generator = torch.Generator().manual_seed(1)
    for key, tensor in net.state_dict().items():
        if key.endswith(("running_mean", "bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
        elif key.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return net.double().eval()


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_every_second_position_is_the_networks(name: str) -> None:
    net = small(name, **CASES[name]).backbone()
    x = torch.randn(2, 3, 128, 192, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = net(x)
    names = list(net.state_dict())
    strides = net.feature_strides
    later = [stage for stage in strides if strides[stage] > 16]
    step = max(strides.values()) // 16
    dilated = dilate(net, later)
    assert list(dilated.state_dict()) == names
    assert max(dilated.feature_strides.values()) == 16
    found = dilated(x)
    assert found.shape[-2:] == tuple(side * step for side in expected.shape[-2:])
    assert torch.allclose(found[..., ::step, ::step], expected, rtol=0, atol=1e-9)


def kind(spec: ResNetSpec) -> ResNetSpec:
    """What `narrow` leaves of a specification: networks that differ in nothing but depth and width are computed once."""
    ones, fours = ((each,) * len(spec.num_blocks) for each in (1, 4))
    sizes = {"num_blocks": ones, "out_channels": fours, "mid_channels": fours if spec.mid_channels else ()}
    return replace(spec, name="", stem_channels=4, groups=min(spec.groups, 2), **sizes)


KINDS = {kind(entry.spec): name for name, entry in zoo.entries().items()}
# Their maps of one position are averages of all, of which a dilated network has more.
ATTENTION = {name for name in KINDS.values() if zoo.find(name).spec.attention != "none"}
# At odd sizes the windows of the 2x2 averages, and of TensorFlow's padding, lie elsewhere.
EVEN_ONLY = {name for name in KINDS.values() if zoo.find(name).spec.shortcut == "D" or zoo.find(name).spec.same_padding}


def narrow(name: str) -> Backbone:
    """As `small`, for any number of stages and without a change of the stem or the strides."""
    spec = zoo.find(name).spec
    stages = range(len(spec.num_blocks))
    changes = {"stem_channels": 4, "num_blocks": (2,) * len(stages), "out_channels": tuple(4 + 2 * i for i in stages)}
    groups = {"groups": 2, "mid_channels": (4,) * len(stages)} if spec.groups > 1 else {}
    mid = {"mid_channels": (4,) * len(stages)} if spec.mid_channels else {}
    return small(name, **{**changes, **mid, **groups}).backbone()


@pytest.mark.parametrize("name", sorted(set(KINDS.values()) - ATTENTION))
@torch.no_grad()
def test_at_every_output_stride_the_maps_are_the_networks(name: str) -> None:
    """At strides 8 and 16, of networks for small images at 1 and 2: without an oracle, to 1e-9 of the largest value."""
    last = max(narrow(name).feature_strides.values())
    for output_stride in (8, 16) if last > 16 else (last // 4, last // 2):
        for size in [(96, 64)] if name in EVEN_ONLY else [(96, 64), (97, 70)]:
            x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
            plain, net = narrow(name), narrow(name)
            later = [stage for stage, stride in net.feature_strides.items() if stride > output_stride]
            expected, found = plain.features(x), dilate(net, later).features(x)
            for key in later:
                step = plain.feature_strides[key] // output_stride
                largest = expected[key].abs().max()
                assert largest > 1e-3
                assert (found[key][..., ::step, ::step] - expected[key]).abs().max() < 1e-9 * largest


@torch.no_grad()
def test_the_other_rule_dilates_the_convolutions_that_had_a_stride_too() -> None:
    """Which changes what the network computes, unless the stride was on a 1x1."""
    x = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for name, rates in (("resnet18", [(2, 2)] * 4), ("resnet50", [(2, 2)] * 2), ("resnet50_v1", [(2, 2)] * 2)):
        plain, net = narrow(name), narrow(name)
        other = dilate(net, ["stage4"], first_too=True)
        convs = [each for each in other.stage4.modules() if isinstance(each, nn.Conv2d) and each.kernel_size == (3, 3)]
        assert [conv.dilation for conv in convs] == rates
        difference = (other(x)[..., ::2, ::2] - plain(x)).abs().max() / plain(x).abs().max()
        assert bool(difference < 1e-9) is (name == "resnet50_v1")


def test_the_whole_zoo_keeps_its_tensors() -> None:
    """With two blocks a stage, which the others repeat."""
    for entry in zoo.entries().values():
        shallow = replace(entry.spec, num_blocks=tuple(min(depth, 2) for depth in entry.spec.num_blocks))
        with torch.device("meta"):
            net = build(shallow).backbone()
            tensors = {key: tensor.shape for key, tensor in net.state_dict().items()}
            later = [stage for stage, stride in net.feature_strides.items() if stride > 16]
            assert {key: tensor.shape for key, tensor in dilate(net, later).state_dict().items()} == tensors
