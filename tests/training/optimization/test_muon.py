"""Muon for kernels beside SGD, against the formula of airbench94_muon.py written out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from resnets.models import zoo
from resnets.recipes.recipe import Optim
from resnets.training.optimization import optimizers
from resnets.training.optimization.muon import MuonAndSGD

SHAPES = ((6, 2, 3, 3), (40, 2, 3, 3), (4, 5, 1, 1))  # the second has more rows than columns


def orthogonalized(matrix: Tensor) -> Tensor:
    """Three iterations of Newton and Schulz's, on the side with fewer rows."""
    if len(matrix) > matrix.shape[1]:
        return orthogonalized(matrix.T).T
    x = matrix / matrix.norm()
    for _ in range(3):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def reference(kernel: Tensor, gradients: list[Tensor], lr: float, momentum: float) -> Tensor:
    buffer = torch.zeros_like(kernel)
    for gradient in gradients:
        buffer = momentum * buffer + gradient
        kernel = kernel * len(kernel) ** 0.5 / kernel.norm()
        update = orthogonalized((gradient + momentum * buffer).flatten(1))
        kernel = kernel - lr * update.view(kernel.shape)
    return kernel


def stepped(kernel: Tensor, gradients: list[Tensor]) -> Tensor:
    parameter = nn.Parameter(kernel.clone())
    groups = [{"params": [parameter], "lr": 0.24, "weight_decay": 0.0, "muon": True}]
    optimizer = MuonAndSGD(groups, momentum=0.6, sgd_momentum=0.85)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_those_of_the_formula(shape, layout, monkeypatch):
    """To 1e-5 where torch's Muon does not round to bf16, else to the precision of bf16."""
    generator = torch.Generator().manual_seed(0)
    kernel, *gradients = (
        torch.randn(shape, generator=generator, dtype=torch.float64).to(memory_format=layout) for _ in range(3)
    )
    for count in (1, 2):
        expected = reference(kernel, gradients[:count], 0.24, 0.6)
        rounded = stepped(kernel, gradients[:count])
        with monkeypatch.context() as exact:
            exact.setattr(torch.Tensor, "bfloat16", torch.Tensor.double)
            found = stepped(kernel, gradients[:count])
        assert (found - expected).abs().max() < 1e-5
        assert 0 < (rounded - expected).abs().max() < 0.01


def test_the_other_parameters_are_on_sgd():
    generator = torch.Generator().manual_seed(0)
    values, gradients = torch.randn(2, 7, generator=generator), torch.randn(3, 2, 7, generator=generator)
    mine, theirs = nn.Parameter(values.clone()), nn.Parameter(values.clone())
    groups = [{"params": [mine], "lr": 0.1, "weight_decay": 0.02, "muon": False}]
    optimizer = MuonAndSGD(groups, momentum=0.6, sgd_momentum=0.85)
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.85, nesterov=True, weight_decay=0.02)
    for gradient in gradients:
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        sgd.step()
    assert torch.equal(mine, theirs)


def test_a_saved_state_goes_on_to_the_bit():
    def steps(net: nn.Module, optimizer: MuonAndSGD, seeds: range) -> None:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for parameter in net.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    def fresh() -> tuple[nn.Module, MuonAndSGD]:
        torch.manual_seed(0)
        net = zoo.build("cifar_fast").to(memory_format=torch.channels_last)
        optimizer = optimizers.build_optimizer(net, Optim(name="muon"), lr=0.1, batch=10)
        assert isinstance(optimizer, MuonAndSGD)
        return net, optimizer

    (net, optimizer), (other, continued) = fresh(), fresh()
    steps(net, optimizer, range(2))
    other.load_state_dict(net.state_dict())
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in ((net, optimizer), (other, continued)):
        steps(*each, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_groups_and_their_rates():
    """As in airbench94_muon.py: rates and decay of the sum of the losses of a batch."""
    net = zoo.build("cifar_fast")
    section = Optim(name="muon", bias_lr=0.05, head_lr=1e-5, weight_decay=2e-6)
    optimizer = optimizers.build_optimizer(net, section, lr=section.lr, batch=2000)
    kernels, biases, head, stem = optimizer.param_groups
    assert {each.ndim for each in kernels["params"]} == {4}
    assert len(kernels["params"]) == 9
    assert [id(each) for each in stem["params"]] == [id(net.stem.conv.bias)]
    assert {id(each) for each in head["params"]} == {id(each) for each in net.head.parameters()}
    assert len(biases["params"]) == 9
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 100, 0.02, 100])
    assert kernels["weight_decay"] == 0
    assert biases["weight_decay"] * biases["lr"] == head["weight_decay"] * head["lr"] == pytest.approx(0.004)
    optimizers.set_lr_factor(optimizer, 0.5, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 50, 0.01, 25])
