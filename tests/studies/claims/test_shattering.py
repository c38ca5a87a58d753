"""`shattering`: derivatives and correlations against other ways to compute them, and the controls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from resnets.studies.claims import shattering
from resnets.studies.measurements import dense_networks
from resnets.studies.study import Setup

SETUP = Setup({"depth": 20, "width": 40}, seeds=range(3))


def test_the_gradient_is_that_of_finite_differences() -> None:
    net = dense_networks.network(dense_networks.SHALLOW, 1, 30, seed=0)
    points = torch.linspace(-shattering.LIMIT, shattering.LIMIT, shattering.POINTS, dtype=torch.float64)[:, None]
    with torch.no_grad():
        differences = (net(points + 1e-7) - net(points - 1e-7))[:, 0].numpy() / 2e-7
    assert np.median(np.abs(differences - shattering.gradient_along_line(net))) < 1e-6


def test_the_residual_networks_are_those_of_their_equations() -> None:
    width, depth = 6, 5
    for kind in (dense_networks.RESIDUAL, dense_networks.RECTIFIED):
        net = dense_networks.network(kind, depth, width, seed=0)
        first, last = net[0], net[-1]
        matrices = [each.weight for each in net if isinstance(each, dense_networks.Layer)]
        assert len(matrices) == depth - 2
        points = torch.linspace(-shattering.LIMIT, shattering.LIMIT, shattering.POINTS, dtype=torch.float64)[:, None]

        def norm(h: torch.Tensor) -> torch.Tensor:
            return (h - h.mean(dim=0)) / (h.var(dim=0, unbiased=False) + 1e-5).sqrt()

        h = points @ first.weight.T + first.bias
        h = h.clamp(min=0) if kind == dense_networks.RECTIFIED else h
        for matrix in matrices:
            h = h + 0.1 * norm(h).clamp(min=0) @ matrix.T
        h = h if kind == dense_networks.RECTIFIED else norm(h)
        torch.testing.assert_close(net(points), h.clamp(min=0) @ last.weight.T + last.bias, rtol=1e-10, atol=1e-12)


def test_the_autocorrelation_is_that_of_numpy() -> None:
    values = np.random.default_rng(0).normal(3, 2, 50).cumsum()
    centered = values - values.mean()
    expected = np.correlate(centered, centered, "full")[len(values) - 1 :][: shattering.LAGS]
    np.testing.assert_allclose(shattering.autocorrelation(values), expected / expected[0])
    assert shattering.autocorrelation(np.full(50, 2.0)).tolist() == [1.0] * shattering.LAGS


def test_shortcuts_keep_gradients_similar_and_the_controls_hold() -> None:
    found = shattering.measure(SETUP)
    assert [control.holds for control in found.controls] == [True] * 3
    (effects,) = found.effects.values()
    assert effects.min() > 0.3
    plain = [row["autocorrelation"] for row in found.rows if (row["kind"], row["lag"]) == (dense_networks.PLAIN, 1)]
    assert found.notes[0].startswith(f"mean at lag 1: plain {np.mean(plain):.2f}; residual ")
    assert len(found.rows) == 3 * 6 * shattering.LAGS


def test_shortcuts_that_were_not_removed_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dense_networks.Layer.__init__

    def with_shortcut(
        self: dense_networks.Layer, weight: torch.Tensor, norm: nn.Module, shortcut: bool, beta: float
    ) -> None:
        real(self, weight, norm, shortcut or beta == dense_networks.SMALL_BRANCH, beta)

    monkeypatch.setattr(dense_networks.Layer, "__init__", with_shortcut)
    assert [control.holds for control in shattering.measure(SETUP).controls] == [True, False, True]


def test_a_network_that_does_not_look_linear_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dense_networks.network
    monkeypatch.setattr(
        shattering,
        "network",
        lambda kind, *size: real(kind if kind != dense_networks.LINEAR else dense_networks.PLAIN, *size),
    )
    assert [control.holds for control in shattering.measure(SETUP).controls] == [True, True, False]


def test_shortcuts_that_were_taken_away_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_networks.Layer, "forward", lambda self, h: torch.relu(self.norm(h)) @ self.weight.T)
    found = shattering.measure(SETUP)
    assert [control.holds for control in found.controls] == [False, True, True]
    assert found.controls[0].found == "0 of 18 plain, 0 of 18 residual"
    (effects,) = found.effects.values()
    assert np.abs(effects).max() < 0.3


def test_shortcuts_that_were_put_into_the_plain_networks_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dense_networks.Layer.forward
    monkeypatch.setattr(dense_networks.Layer, "forward", lambda self, h: real(self, h) + (0 if self.shortcut else h))
    found = shattering.measure(SETUP)
    assert not found.controls[0].holds
    assert found.controls[0].found == "18 of 18 plain, 18 of 18 residual"
