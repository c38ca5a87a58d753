"""The gradients from copies are those of torch, in float64 too, and the copies are made where they pay off and nowhere else."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnets.inference import hardware
from resnets.recipes.recipe import Speed
from resnets.training.optimization import weight_gradients

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
    weight_gradients.use_copies(module)
    assert layouts(copy.deepcopy(module), x) == [True]
    for found, exact in zip(gradients(module, x), wanted, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4 * float(exact.abs().max()))


def test_outputs_parameters_and_names_are_the_same() -> None:
    module, x = conv(padding=1), images()
    before, names = module(x), dict(module.state_dict())
    weight_gradients.use_copies(module)
    assert isinstance(module[0], weight_gradients.ConvWithCopies)
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
    weight_gradients.use_copies(module)
    assert layouts(module, x) == layouts(plain, x)
    assert all(map(torch.equal, gradients(module, x), gradients(plain, x)))


def test_a_convolution_that_is_used_twice_stays_one() -> None:
    shared = nn.Conv2d(16, 16, 3)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})
    weight_gradients.use_copies(model)
    assert model["a"] is model["b"][0]  # type: ignore[index]
    assert model["a"].weight is shared.weight


def test_a_frozen_weight_has_no_gradient() -> None:
    module = conv().requires_grad_(False)
    weight_gradients.use_copies(module)
    assert layouts(module, images()) == []
    assert module[0].weight.grad is None


def test_it_is_for_fp32_in_channels_last_on_a_cpu_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2"})
    speed = Speed(device="cpu", precision="fp32")
    assert weight_gradients.applies_to(speed)
    for changed in ({"device": "cuda"}, {"precision": "bf16"}, {"channels_last": False}, {"compile": True}):
        assert not weight_gradients.applies_to(replace(speed, **changed))
    monkeypatch.setattr(hardware, "cpu_flags", lambda: {"avx2", "avx512_bf16"})
    assert not weight_gradients.applies_to(speed)
