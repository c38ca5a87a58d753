"""`gradients`: norms against finite differences, shortcuts against the zoo's networks, and the control."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.studies import known_images
from torch.nn.functional import cross_entropy

from resnets.models import zoo
from resnets.studies import inputs
from resnets.studies.claims import gradients
from resnets.studies.study import Setup

SETTING = "batch norm, He"
NUMBERS = {"images": 4, "depth1": 8, "depth2": 14}


def test_the_norm_is_that_of_finite_differences() -> None:
    net = gradients.network(gradients.PLAIN, 8, SETTING, 2, seed=0)
    images, labels = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1])
    weight = next(module.weight for module in net.modules() if isinstance(module, torch.nn.Conv2d))
    (gradient,) = torch.autograd.grad(cross_entropy(net(images), labels), weight)
    step = 1e-6 * gradient / gradient.norm()
    with torch.no_grad():
        losses = []
        for sign in (1, -2):
            weight += sign * step
            losses.append(float(cross_entropy(net(images), labels)))
        weight += step
    assert gradients.gradient_norms(net, images, labels)[0] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4)


def test_a_plain_network_with_shortcuts_is_the_residual_network_of_the_zoo() -> None:
    net = gradients.network(gradients.SHORTCUTS, 8, SETTING, 2, seed=0)
    residual = zoo.build("cifar_resnet20", num_classes=2, num_blocks=(1, 1, 1)).double().train()
    residual.load_state_dict(net.state_dict())
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert net(images).equal(residual(images))


def test_a_pre_activation_network_without_norm_passes_negative_values_on() -> None:
    net = gradients.network(gradients.PREACTIVATION, 14, "no norm, He", 2, seed=0)
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    block = net.stage1.block2
    torch.testing.assert_close(block(x.clone()), x + block.branch(x.relu()))  # type: ignore[operator, union-attr]


def setup() -> Setup:
    return Setup(NUMBERS, range(3), images=inputs.read_images(known_images.folder(), 4, []))


def test_gradients_vanish_only_with_small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: gradients.SETTINGS[name] for name in (SETTING, "no norm, N(0, 0.01)")}
    monkeypatch.setattr(gradients, "SETTINGS", chosen)
    monkeypatch.setattr(inputs, "IMGSZ", 8)
    found = gradients.measure(setup())
    assert [control.holds for control in found.controls] == [True]
    normal, small = found.effects.values()
    assert found.notes[1].startswith("no norm, N(0, 0.01), 14 layers with shortcuts: ")
    assert normal.min() > -1
    assert small.max() < -3
    assert np.isfinite([row["norm"] for row in found.rows]).all()
    monkeypatch.setattr(gradients, "_add_shortcuts", lambda net: None)  # the shortcuts are taken away
    assert [control.holds for control in gradients.measure(setup()).controls] == [False]
