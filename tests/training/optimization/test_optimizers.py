from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.recipes.recipe import Optim
from resnets.training.optimization import optimizers


def _net() -> nn.Module:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict({"stem": backbone, "head": nn.Linear(4, 2)})


def test_without_decay_on_vectors_norms_and_biases_stand_apart():
    groups = optimizers.param_groups(_net(), Optim(weight_decay=0.1, decay_norm_and_bias=False), lr=1.0)
    assert [(group["weight_decay"], sorted(p.ndim for p in group["params"])) for group in groups] == [
        (0.1, [4]),
        (0.0, [1, 1, 1]),
        (0.1, [2]),
        (0.0, [1]),
    ]


def test_with_decay_on_everything_every_tensor_has_it():
    groups = optimizers.param_groups(_net(), Optim(weight_decay=0.1), lr=1.0)
    assert sum(len(group["params"]) for group in groups) == 6
    assert {group["weight_decay"] for group in groups} == {0.1}


def test_the_backbone_has_its_own_learning_rate():
    optimizer = optimizers.build_optimizer(_net(), Optim(name="adamw"), lr=0.01, backbone_lr_factor=0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.001, 0.01])
    optimizers.set_lr_factor(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.0005, 0.005])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_tensors_without_gradient_do_not_move(name):
    net = _net()
    optimizer = optimizers.build_optimizer(net, Optim(name=name, weight_decay=0.1), lr=0.1)
    for parameter in net["stem"].parameters():
        parameter.requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net["head"](torch.ones(2, 4)).sum().backward()
    optimizer.step()
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("stem"))
    assert not torch.equal(before["head.weight"], after["head.weight"])
