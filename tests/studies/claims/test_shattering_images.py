"""`shattering-images`: derivatives against finite differences, and the controls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.studies import known_images

from resnets.models.blocks import PlainBlock
from resnets.studies import inputs
from resnets.studies.claims import shattering_images
from resnets.studies.measurements import edit_blocks, new_networks
from resnets.studies.study import Measurement, Setup

NUMBERS = {"images": 2, "depth": 8, "points": 24}


def measure(monkeypatch: pytest.MonkeyPatch) -> Measurement:
    monkeypatch.setattr(inputs, "IMGSZ", 8)
    images = inputs.read_images(known_images.folder(), 2, [])
    return shattering_images.measure(Setup(NUMBERS, range(3), images=images))


def test_the_gradient_is_that_of_finite_differences() -> None:
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = shattering_images.build(shattering_images.LINEAR, 8, 2, seed=0)
    with torch.no_grad():
        expected = float((net(images[1:]) - net(images[:1]))[0, 0])
    found = shattering_images.gradient_between(net, images, 5)
    np.testing.assert_allclose(found, [expected] * 5)
    net = shattering_images.build(shattering_images.SHORTCUTS, 8, 2, seed=0).eval()  # the points are independent
    with torch.no_grad():
        logits = [float(net(images[:1] + t * (images[1:] - images[:1]))[0, 0]) for t in (0.5 - 1e-7, 0.5 + 1e-7)]
    found = shattering_images.gradient_between(net, images, 5)
    assert found[2] == pytest.approx((logits[1] - logits[0]) / 2e-7, rel=1e-3)


def test_the_controls_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure(monkeypatch)
    assert [control.holds for control in found.controls] == [True, True, True]
    (effects,) = found.effects.values()
    residual, plain = (
        [row["autocorrelation"] for row in found.rows if (row["kind"], row["lag"]) == (kind, 1)]
        for kind in (shattering_images.SHORTCUTS, shattering_images.PLAIN)
    )
    assert len(residual) == 3
    np.testing.assert_allclose(effects, np.subtract(residual, plain))
    assert len(found.rows) == 3 * 4 * shattering_images.LAGS


def test_shortcuts_that_were_not_removed_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_blocks, "with_parts", lambda block, **_: block)
    assert [control.holds for control in measure(monkeypatch).controls] == [True, False, True]


def test_a_network_that_is_not_linear_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        shattering_images.KINDS, shattering_images.LINEAR, (shattering_images.PLAIN, shattering_images.NORM)
    )
    assert [control.holds for control in measure(monkeypatch).controls] == [True, True, False]


def test_shortcuts_that_were_not_added_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_networks, "_add_shortcuts", lambda net: None)
    assert [control.holds for control in measure(monkeypatch).controls] == [False, True, True]


def test_shortcuts_that_were_put_into_the_plain_networks_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = PlainBlock.forward
    monkeypatch.setattr(PlainBlock, "forward", lambda block, x: x + y if (y := real(block, x)).shape == x.shape else y)
    assert not next(iter(measure(monkeypatch).controls)).holds
