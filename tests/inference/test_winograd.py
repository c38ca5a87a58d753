"""Winograd's algorithm computes the convolution and its gradients, and is used where it can be and is faster."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from resnets.inference import winograd
from resnets.inference.winograd import WinogradConv2d


def maps(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return values.contiguous(memory_format=torch.channels_last)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@settings(max_examples=40)
@given(
    count=st.integers(1, 5), height=st.integers(1, 23), width=st.integers(1, 70), inputs=st.integers(1, 5),
    outputs=st.integers(1, 5), has_bias=st.booleans(), tiles=st.sampled_from([1, 7, 256]),
)  # fmt: skip
def test_output_and_gradients_are_those_of_torch_in_float64(
    count: int, height: int, width: int, inputs: int, outputs: int, has_bias: bool, tiles: int
) -> None:
    """For odd sizes too, and for chunks of rows, of images and of all."""
    x, weight = maps(count, inputs, height, width), maps(outputs, inputs, 3, 3, seed=1)
    bias = maps(1, outputs, 1, 1, seed=2).flatten() if has_bias else None
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
    wanted = F.conv2d(*leaves, bias, padding=1)
    gradient = maps(*wanted.shape, seed=3)
    wanted.backward(gradient)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "TILES", tiles)
        assert relative(winograd.convolve(x, winograd.transform_kernels(weight), bias), wanted.detach()) < 1e-13
        assert relative(winograd.input_gradient(gradient, weight), leaves[0].grad) < 1e-13
        assert relative(winograd.weight_gradient(x, gradient), leaves[1].grad) < 1e-13


def test_rounding_in_float32() -> None:
    """Against float64, relative to the largest output; a direct convolution has about 1e-6."""
    x, weight = maps(2, 256, 20, 20), maps(256, 256, 3, 3, seed=1)
    exact = F.conv2d(x, weight, padding=1)
    x, weight = x.float(), weight.float()
    found = winograd.convolve(x, winograd.transform_kernels(weight), None).double()
    assert relative(found, exact) < 5e-5


def test_repeated_it_gives_the_same_bits() -> None:
    x, weight = maps(2, 64, 24, 24, dtype=torch.float32), maps(64, 64, 3, 3, dtype=torch.float32, seed=1)
    kernels = winograd.transform_kernels(weight)
    assert torch.equal(winograd.convolve(x, kernels, None), winograd.convolve(x, kernels, None))
    assert torch.equal(winograd.weight_gradient(x, x), winograd.weight_gradient(x, x))


@pytest.mark.parametrize(
    "other",
    [
        {"stride": 2}, {"dilation": 2}, {"groups": 64}, {"padding": 0}, {"padding": "same"}, {"kernel_size": 1},
        {"padding_mode": "reflect"}, {"in_channels": 64}, {"out_channels": 64},
    ],
)  # fmt: skip
def test_it_is_for_3x3_convolutions_of_many_channels(other: dict[str, object]) -> None:
    usual: dict[str, object] = {"in_channels": 128, "out_channels": 128, "kernel_size": 3, "padding": 1}
    assert winograd.suits(nn.Conv2d(**usual))  # type: ignore[arg-type]
    assert not winograd.suits(nn.Conv2d(**usual | other))  # type: ignore[arg-type]
    assert not winograd.suits(nn.Linear(64, 64))


def test_a_network_keeps_its_outputs_and_small_batches_are_computed_directly() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 32, 3, padding=1)).eval()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    small, large = (maps(1, 128, side, side, dtype=torch.float32) for side in (8, 40))
    with torch.inference_mode():
        wanted = [network(each) for each in (small, large)]
        winograd.replace_convolutions(network)
        assert [type(each) for each in network] == [WinogradConv2d, nn.ReLU, nn.Conv2d]
        found = [network(each) for each in (small, large)]
    assert torch.equal(found[0], wanted[0])
    assert not torch.equal(found[1], wanted[1])  # other rounding: it was computed by the other algorithm
    assert relative(found[1], wanted[1]) < 1e-5


def test_share_of_the_multiplications() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 128, 1), nn.Conv2d(128, 128, 3, padding=1), nn.Conv2d(128, 128, 3, stride=2, padding=1)
    )
    by_winograd, first, strided = 9 * 128 * 128, 3 * 128, 9 * 128 * 128 / 4
    expected = by_winograd / (by_winograd + first + strided)
    assert winograd.share(layers, torch.zeros(1, 3, 16, 16)) == pytest.approx(expected)
    assert not any(each._forward_hooks for each in layers)
