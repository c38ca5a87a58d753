"""Outputs and gradients are those of torch, and each algorithm is used where it pays off and nowhere else."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnets.inference import winograd
from resnets.models import zoo
from resnets.recipes.recipe import Speed
from resnets.training.optimization import fast_convolutions

SIDE = 64


def conv(channels: int = 16, **settings: int | bool) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(channels, 8, 3, **settings))  # type: ignore[arg-type]
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def images(side: int = SIDE) -> Tensor:
    return torch.randn(2, 16, side, side).contiguous(memory_format=torch.channels_last)


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Of the input and the parameters, for a gradient of the output that is not constant."""
    x = x.clone().requires_grad_()
    out = module(x)
    out.backward(torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out))
    assert x.grad is not None
    return [x.grad, *(each.grad for each in module.parameters() if each.grad is not None)]


class Layouts(TorchDispatchMode):
    """Notes whether the input of each gradient of a convolution's weight is channels-first."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[bool] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten.convolution_backward.default and args[-1][1]:
            self.first.append(args[1].is_contiguous())
        return func(*args, **(kwargs or {}))


def layouts(module: nn.Module, x: Tensor) -> list[bool]:
    with Layouts() as noted:
        gradients(module, x)
    return noted.first


@pytest.mark.parametrize(
    "settings", [{"padding": 1}, {"padding": 1, "stride": 2, "bias": False}, {"dilation": 2, "padding": 2}]
)
def test_the_gradients_are_those_of_float64(settings: dict[str, int | bool]) -> None:
    module, x = conv(**settings), images()
    wanted = gradients(copy.deepcopy(module).double(), x.double())
    fast_convolutions.replace_convolutions(module)
    assert layouts(copy.deepcopy(module), x) == [True]
    for found, exact in zip(gradients(module, x), wanted, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_outputs_parameters_and_names_are_the_same() -> None:
    module, x = conv(padding=1), images()
    before, names = module(x), dict(module.state_dict())
    fast_convolutions.replace_convolutions(module)
    assert isinstance(module[0], fast_convolutions.FastConv2d)
    assert torch.equal(module(x), before)
    assert all(torch.equal(each, names[name]) for name, each in module.state_dict().items())


@pytest.mark.parametrize(
    "small", [lambda: (conv(), images(63)), lambda: (conv(), images().contiguous()), lambda: (conv(8), None)]
)
def test_no_copies_are_made_elsewhere(small: Callable[[], tuple[nn.Module, Tensor | None]]) -> None:
    """On smaller maps, for channels-first input, and for few channels."""
    module, x = small()
    plain = copy.deepcopy(module)
    x = torch.randn(2, 8, SIDE, SIDE).contiguous(memory_format=torch.channels_last) if x is None else x
    fast_convolutions.replace_convolutions(module)
    assert layouts(module, x) == layouts(plain, x)
    assert all(map(torch.equal, gradients(module, x), gradients(plain, x)))


def test_a_convolution_that_is_used_twice_stays_one() -> None:
    shared = nn.Conv2d(16, 16, 3)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    fast_convolutions.replace_convolutions(model)
    assert model["a"] is model["b"][0]  # type: ignore[index]
    assert model["a"].weight is shared.weight


def test_a_frozen_weight_has_no_gradient() -> None:
    module = conv().requires_grad_(False)
    fast_convolutions.replace_convolutions(module)
    assert layouts(module, images()) == []
    assert module[0].weight.grad is None


def test_it_is_for_fp32_in_channels_last_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "is_faster_here", lambda: True)
    speed = Speed(device="cpu", precision="fp32")
    assert fast_convolutions.applies_to(speed)
    for changed in ({"device": "cuda"}, {"precision": "bf16"}, {"channels_last": False}, {"compile": True}):
        assert not fast_convolutions.applies_to(replace(speed, **changed))
    monkeypatch.setattr(winograd, "is_faster_here", lambda: False)
    assert not fast_convolutions.applies_to(speed)


@pytest.mark.parametrize(
    ("bias", "shape"), [(True, (2, 64, 22, 19)), (False, (2, 64, 24, 16)), (True, (1, 64, 42, 24))]
)
def test_many_channels_are_computed_by_winograds_algorithm(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(64, 64, 3, padding=1, bias=bias), nn.ReLU(inplace=True)
    module = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    exact, direct = gradients(copy.deepcopy(module).double(), x.double()), module(x)
    fast_convolutions.replace_convolutions(module)
    assert "_Winograd" in type(module[0](x).grad_fn).__name__
    assert torch.equal(module(x), direct) == (shape[1] == 64)
    torch.testing.assert_close(module(x), direct, rtol=1e-4, atol=1e-4)
    for found, wanted in zip(gradients(module, x), exact, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    with torch.no_grad():  # a validation computes as `evaluate` does
        assert torch.equal(module(x), direct)


def test_frozen_kernels_have_no_gradient_by_winograds_algorithm() -> None:
    module = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.requires_grad_(False)
    fast_convolutions.replace_convolutions(module)
    x = torch.randn(1, 64, 24, 24).contiguous(memory_format=torch.channels_last).requires_grad_()
    module(x).sum().backward()
    assert x.grad is not None
    assert module[0].weight.grad is None


def test_the_gradients_of_a_whole_network_are_close_to_float64() -> None:
    """Rounding switches ReLUs: with direct convolutions in float32 the distance is up to one percent, too."""
    torch.manual_seed(0)
    network = zoo.build("resnet18", num_classes=10).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(8, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    exact = copy.deepcopy(network).double()
    fast_convolutions.replace_convolutions(network)
    wanted, found = (
        torch.cat([each.flatten().double() for each in gradients(module, images)[1:]])
        for module, images in ((exact, x.double()), (network, x))
    )
    assert (found - wanted).norm() < 0.03 * wanted.norm()
