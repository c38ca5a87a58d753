"""Gradients of kernels from products of matrices, against those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.inference import hardware
from resnets.models import zoo
from resnets.recipes.recipe import Speed
from resnets.training.optimization import small_map_convolutions
from resnets.training.optimization.small_map_convolutions import SmallMapConv2d, kernel_gradient


@pytest.mark.parametrize("size", [(7, 7), (3, 3), (1, 5), (8, 2)])
def test_the_gradient_of_the_kernels_is_torchs(size, monkeypatch):
    """In several products, the last of which has fewer images."""
    monkeypatch.setattr(small_map_convolutions, "ROWS", 100)
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(5, 6, 3, padding=1, bias=False)
    images = torch.randn(19, 5, *size, generator=generator)
    output = conv(images)
    gradient = torch.randn(output.shape, generator=generator)
    output.backward(gradient)
    assert (kernel_gradient(images, gradient) - conv.weight.grad).abs().max() < 1e-4


@pytest.mark.parametrize("side", [7, 9])
def test_a_layer_computes_what_conv2d_computes(side):
    """On maps that are small and on others; outputs and gradients of the images to the bit, in bf16."""
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, bias=False)).to(memory_format=torch.channels_last)
    images = torch.randn(4, 16, side, side, generator=generator).to(memory_format=torch.channels_last)
    results = []
    for _ in range(2):
        x = images.clone().requires_grad_()
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = net(x)
        output.float().square().sum().backward()
        results.append((output.detach(), x.grad, net[0].weight.grad))
        small_map_convolutions.replace_convolutions(net)
    assert type(net[0]) is SmallMapConv2d
    (output, of_images, of_kernels), (mine, images_gradient, kernels_gradient) = results
    assert mine.dtype == torch.bfloat16
    assert torch.equal(output, mine)
    assert torch.equal(of_images, images_gradient)
    assert (of_kernels - kernels_gradient).norm() < 0.01 * of_kernels.norm()


def test_only_3x3_at_stride_1_is_replaced_and_names_stay():
    net = zoo.build("tiny")
    names, kept = list(net.state_dict()), {id(each) for each in net.parameters()}
    small_map_convolutions.replace_convolutions(net)
    assert list(net.state_dict()) == names
    assert {id(each) for each in net.parameters()} == kept
    kinds = {(type(each), each.kernel_size, each.stride) for each in net.modules() if isinstance(each, nn.Conv2d)}
    assert kinds == {(SmallMapConv2d, (3, 3), (1, 1)), (nn.Conv2d, (3, 3), (2, 2)), (nn.Conv2d, (1, 1), (2, 2))}


def test_it_is_for_bf16_on_a_cpu_with_amx(monkeypatch):
    speed = {"device": "cpu", "precision": "bf16"}
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512_bf16"})
    assert not small_map_convolutions.applies_to(Speed(**speed))
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx512_bf16", "amx_bf16"})
    assert small_map_convolutions.applies_to(Speed(**speed))
    for changed in ({"device": "cuda"}, {"precision": "fp32"}, {"channels_last": False}, {"compile": True}):
        assert not small_map_convolutions.applies_to(Speed(**(speed | changed)))
