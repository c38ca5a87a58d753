"""`landscape`: directions, surfaces of known losses, and the statistics of batch norm."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.studies import known_images
from torch.nn.functional import cross_entropy

from resnets.report.figures import canvas
from resnets.studies.claims import landscape
from resnets.studies.study import Setup

NUMBERS = {"images": 20, "side": 3}


def setup(seeds: int = 3) -> Setup:
    files = known_images.checkpoint_file("cifar_plain20", blocks=1), known_images.checkpoint_file(blocks=1)
    networks, images = known_images.load(*files)
    return Setup(NUMBERS, range(seeds), networks, images)


def test_each_filter_moves_by_its_own_norm_and_biases_and_norms_stay() -> None:
    net = setup().networks[0].net
    moved = landscape.direction(net, torch.Generator().manual_seed(0))
    weights = dict(net.named_parameters())
    assert moved.keys() == weights.keys()
    for name, weight in weights.items():
        if weight.ndim == 1:
            assert not moved[name].any()
            continue
        torch.testing.assert_close(moved[name].flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
    other = landscape.direction(net, torch.Generator().manual_seed(1))
    assert not any(other[name].equal(moved[name]) for name in weights if weights[name].ndim > 1)


def test_a_point_of_the_surface_is_the_loss_of_a_network_with_these_weights() -> None:
    known = setup()
    net, images, labels = known.networks[1].net, torch.randn(6, 3, 16, 16), torch.tensor([0, 1] * 3)
    losses = landscape.surface(net, 5, 3, images, labels)
    generator = torch.Generator().manual_seed(5)
    first, second = (landscape.direction(net, generator) for _ in range(2))
    moved = landscape.with_norms(net, landscape.STORED)
    with torch.no_grad():
        assert losses[1, 1] == pytest.approx(float(cross_entropy(moved(images), labels)), rel=1e-5)
        for name, weight in moved.named_parameters():
            weight += first[name] - second[name]
        assert losses[2, 0] == pytest.approx(float(cross_entropy(moved(images), labels)), rel=1e-4)


def test_the_statistics_of_the_batch_change_nothing_in_the_network() -> None:
    net = landscape.with_norms(setup().networks[1].net, landscape.OF_BATCH)
    before = {name: value.clone() for name, value in net.named_buffers() if "num_batches" not in name}
    images, labels = 3 * torch.randn(6, 3, 16, 16), torch.tensor([0, 1] * 3)
    weights = dict(net.named_parameters())
    of_batch = landscape.loss(net, weights, images, labels)
    assert all(value.equal(dict(net.named_buffers())[name]) for name, value in before.items())
    stored = landscape.with_norms(net, landscape.STORED)
    assert of_batch != pytest.approx(landscape.loss(stored, weights, images, labels), rel=1e-3)
    with torch.no_grad():
        assert of_batch == pytest.approx(float(cross_entropy(net(images), labels)), rel=1e-5)


@pytest.mark.parametrize(
    ("surface", "share"),
    [
        (lambda x, y: x**2 + 3 * y**2 + x * y, 0),
        (lambda x, y: x**2 - y**2, 100),
        (lambda x, y: x**2 + y**2 + 3 * x * y, 100),
        (lambda x, y: np.where(x > 0.1, -(x**2), x**2) + y**2, 50),
    ],
    ids=["bowl", "saddle", "turned saddle", "half a bowl"],
)
def test_the_share_that_is_not_convex(surface, share: float) -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 18), np.linspace(-1, 1, 18), indexing="ij")
    assert landscape.not_convex(surface(x, y)) == pytest.approx(share, abs=7)


def test_plain_networks_are_compared_with_residual_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(
            landscape, "not_convex", np.mean
        )  # a number that differs between the networks at these few points
        found = landscape.measure(setup())
    assert all(control.holds for control in found.controls)
    plain, residual = (network.name for network in setup().networks)
    losses = {key: [row["loss"] for row in found.rows if (row["network"], row["statistics"], row["seed"]) == key]
              for key in product((plain, residual), (landscape.STORED, landscape.OF_BATCH), range(3))}  # fmt: skip
    for statistics, values in zip((landscape.STORED, landscape.OF_BATCH), found.effects.values(), strict=True):
        expected = [np.mean(losses[plain, statistics, k]) - np.mean(losses[residual, statistics, k]) for k in range(3)]
        np.testing.assert_allclose(values, expected)
    assert list(found.effects) == [f"{plain} - {residual}, {each}" for each in (landscape.STORED, landscape.OF_BATCH)]
    assert {len(values) for values in found.effects.values()} == {3}
    assert len(found.rows) == 2 * 2 * 3 * 9
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "landscape") as page:
        landscape.draw(found.rows, page)
        assert [len(axes.collections) for axes in page.axes[:4]] == [3] * 4  # a set of contours for each direction
    # Directions that are added twice are noticed by the grid of one point.
    itself = landscape.loss
    monkeypatch.setattr(
        landscape, "loss", lambda net, weights, *data: itself(net, {k: 1.1 * v for k, v in weights.items()}, *data)
    )
    assert not any(control.holds for control in landscape.measure(setup(seeds=1)).controls)
