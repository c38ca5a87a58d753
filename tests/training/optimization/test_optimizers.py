from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.recipes.recipe import Optim
from resnets.training.optimization import optimizers


def _net() -> ResNet:
    return zoo.build("tiny", num_classes=2)


class _Detector(nn.Module):
    """A model whose backbone is named by an attribute; its other modules are its head."""

    def __init__(self) -> None:
        super().__init__()
        self.neck = nn.Conv2d(64, 8, 1)
        self.backbone = _net().backbone()
        self.head = nn.Linear(8, 2)


@pytest.mark.parametrize("model", [_net(), _Detector()], ids=["ResNet", "other model"])
def test_without_decay_on_vectors_norms_and_biases_stand_apart(model):
    groups = optimizers.param_groups(
        model, Optim(weight_decay=0.1, decay_norm_and_bias=False), lr=1.0, backbone_lr_factor=0.5
    )
    assert [(group["weight_decay"], group["lr"]) for group in groups] == [
        (0.1, 0.5),
        (0.0, 0.5),
        (0.1, 1.0),
        (0.0, 1.0),
    ]
    assert [{p.ndim > 1 for p in group["params"]} for group in groups] == [{True}, {False}, {True}, {False}]
    heads = [model.head] if isinstance(model, ResNet) else [model.neck, model.head]
    in_head = {id(p) for module in heads for p in module.parameters()}
    assert [{id(p) in in_head for p in group["params"]} for group in groups] == [{False}, {False}, {True}, {True}]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_with_decay_on_everything_every_tensor_has_it():
    net = _net()
    groups = optimizers.param_groups(net, Optim(weight_decay=0.1), lr=1.0)
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert {group["weight_decay"] for group in groups} == {0.1}


def test_the_backbone_has_its_own_learning_rate():
    optimizer = optimizers.build_optimizer(_net(), Optim(name="adamw"), lr=0.01, backbone_lr_factor=0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.001, 0.01])
    optimizers.set_lr_factor(optimizer, 0.5, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.0005, 0.005])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_tensors_without_gradient_do_not_move(name):
    net = _net()
    optimizer = optimizers.build_optimizer(net, Optim(name=name, weight_decay=0.1), lr=0.1)
    for parameter in net.stem.parameters():
        parameter.requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.head(torch.ones(2, net.head.in_features)).sum().backward()
    optimizer.step()
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("stem"))
    assert not torch.equal(before["head.fc.weight"], after["head.fc.weight"])
