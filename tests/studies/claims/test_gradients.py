"""`gradients`: norms against finite differences, and the controls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.studies import known_images
from torch.nn.functional import cross_entropy

from resnets.models.blocks import PlainBlock
from resnets.studies import inputs
from resnets.studies.claims import gradients
from resnets.studies.measurements import new_networks
from resnets.studies.study import Measurement, Setup

SETTING = "batch norm, He"
NUMBERS = {"images": 4, "depth1": 8, "depth2": 14}


def test_the_norm_is_that_of_finite_differences() -> None:
    net = new_networks.network(new_networks.PLAIN, 8, SETTING, 2, seed=0)
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


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Measurement]:
    """The study of two settings, on small images."""
    chosen = {name: gradients.SETTINGS[name] for name in (SETTING, "no norm, N(0, 0.01)")}
    monkeypatch.setattr(gradients, "SETTINGS", chosen)
    monkeypatch.setattr(inputs, "IMGSZ", 8)
    return lambda: gradients.measure(Setup(NUMBERS, range(3), images=inputs.read_images(known_images.folder(), 4, [])))


def test_gradients_vanish_only_with_small_weights(measured: Callable[[], Measurement]) -> None:
    found = measured()
    assert [control.holds for control in found.controls] == [True] * 3
    normal, small = found.effects.values()
    assert found.notes[1].startswith("no norm, N(0, 0.01), 14 layers with shortcuts: ")
    ratios = [
        by_layer[0] / by_layer[-1]
        for seed in range(3)
        for by_layer in [[row["norm"] for row in found.rows if (row["setting"], row["seed"], row["kind"], row["depth"])
                          == (SETTING, seed, new_networks.PLAIN, 14)]]
    ]  # fmt: skip
    assert (
        found.notes[2]
        == f"{SETTING}, plain, 14 layers: gradient of the first layer / last: {np.mean(ratios):.3g} in the "
        f"mean, from {min(ratios):.3g} to {max(ratios):.3g}"
    )
    assert normal.min() > -1
    assert small.max() < -3
    assert np.isfinite([row["norm"] for row in found.rows]).all()


def test_shortcuts_that_were_not_added_fail_the_controls(
    measured: Callable[[], Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_networks, "_add_shortcuts", lambda net: None)
    assert [control.holds for control in measured().controls] == [False] * 3


def test_shortcuts_that_were_put_into_the_plain_networks_fail_the_control(
    measured: Callable[[], Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PlainBlock.forward
    monkeypatch.setattr(PlainBlock, "forward", lambda block, x: x + y if (y := real(block, x)).shape == x.shape else y)
    assert [control.holds for control in measured().controls] == [True, False, False]
