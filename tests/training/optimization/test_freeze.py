from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.recipes.recipe import Freeze
from resnets.training.optimization import ema, freeze


def _state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def _changed(net: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


def _train(net: ResNet, steps: int = 10) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for step in range(steps):
        net.train()  # as any training code would
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(step)
        net(torch.randn(4, 3, 32, 32, generator=generator)).logsumexp(1).sum().backward()
        optimizer.step()


def test_a_frozen_backbone_keeps_every_bit_while_the_head_is_trained():
    net = zoo.build("tiny", num_classes=3)
    before = _state(net)
    line = freeze.apply(net, Freeze(layers="backbone"))
    _train(net)
    changed = _changed(net, before)
    assert changed
    assert all(name.startswith("head.") for name in changed)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    tensors = sum(not name.startswith("head.") for name, _ in net.named_parameters())
    assert line == f"frozen: {tensors} weight and bias tensors, statistics of {norms} batch norms"


def test_without_freezing_every_tensor_is_trained():
    net = zoo.build("tiny", num_classes=3)
    before = _state(net)
    assert freeze.apply(net, Freeze()) == ""
    _train(net)
    assert _changed(net, before) == set(before)


def test_a_number_of_stages_freezes_the_stem_and_as_many_stages():
    net = zoo.build("tiny", num_classes=3)
    before = _state(net)
    freeze.apply(net, Freeze(layers="1"))
    _train(net)
    first = next(iter(net.stages))
    saved = set(before) - _changed(net, before)
    assert saved == {name for name in before if name.startswith(("stem.", f"{first}."))}


@pytest.mark.parametrize(
    ("norm", "statistics", "affine"), [("train", True, True), ("eval", False, True), ("frozen", False, False)]
)
def test_the_norm_setting_is_applied(norm, statistics, affine):
    net = zoo.build("tiny", num_classes=3)
    before = _state(net)
    freeze.apply(net, Freeze(norm=norm))
    _train(net)
    changed = _changed(net, before)
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert all((f"{name}.running_mean" in changed) == statistics for name in norms)
    assert all((f"{name}.weight" in changed) == affine for name in norms)


def test_the_head_is_trained_first_and_then_all_layers():
    net = zoo.build("tiny", num_classes=3)
    section = Freeze(head_epochs=2)
    for epoch in (0, 1):
        before = _state(net)
        assert freeze.apply(net, section, epoch=epoch).startswith("frozen: ")
        _train(net, 3)
        assert all(name.startswith("head.") for name in _changed(net, before))
    before = _state(net)
    assert freeze.apply(net, section, epoch=2) == ""
    _train(net, 3)
    assert _changed(net, before) == set(before)


def test_a_frozen_norm_is_still_a_norm_and_can_be_copied():
    net = zoo.build("tiny", num_classes=3)
    names = list(net.state_dict())
    freeze.apply(net, Freeze(layers="backbone"))
    assert list(net.state_dict()) == names
    for twin in (copy.deepcopy(net), ema.WeightAverage(net, 0.9).module):
        twin.train()
        held = [module for name, module in twin.named_modules() if isinstance(module, nn.BatchNorm2d)]
        assert held
        assert not any(module.training for module in held)


def test_a_frozen_network_can_be_pickled(tmp_path):
    net = zoo.build("tiny", num_classes=3)
    freeze.apply(net, Freeze(layers="backbone"))
    torch.save(net, tmp_path / "whole.pt")
    for twin in (pickle.loads(pickle.dumps(net)), torch.load(tmp_path / "whole.pt", weights_only=False)):
        assert not any(module.training for module in twin.train().modules() if isinstance(module, nn.BatchNorm2d))
        assert twin.head.training


def test_more_stages_than_there_are_is_an_error():
    with pytest.raises(UserError, match="received `freeze=9`"):
        freeze.apply(zoo.build("tiny", num_classes=3), Freeze(layers="9"))
