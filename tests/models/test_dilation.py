"""Dilation in place of strides computes the network's function at more positions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.dilation import dilate

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


def test_the_whole_zoo_keeps_its_tensors() -> None:
    """With two blocks a stage, which the others repeat."""
    for entry in zoo.entries().values():
        shallow = replace(entry.spec, num_blocks=tuple(min(depth, 2) for depth in entry.spec.num_blocks))
        with torch.device("meta"):
            net = build(shallow).backbone()
            tensors = {key: tensor.shape for key, tensor in net.state_dict().items()}
            later = [stage for stage, stride in net.feature_strides.items() if stride > 16]
            assert {key: tensor.shape for key, tensor in dilate(net, later).state_dict().items()} == tensors
