"""Directions, surfaces of known losses, and the statistics of batch norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.studies import known_images
from torch.nn.functional import cross_entropy

from resnets.models.resnet import ResNet
from resnets.studies.measurements import loss_surface


def network() -> ResNet:
    networks, _ = known_images.load(known_images.checkpoint_file(blocks=1))
    return networks[0].net


def test_each_filter_moves_by_its_own_norm_and_biases_and_norms_stay() -> None:
    net = network()
    moved = loss_surface.direction(net, torch.Generator().manual_seed(0))
    weights = dict(net.named_parameters())
    assert moved.keys() == weights.keys()
    for name, weight in weights.items():
        if weight.ndim == 1:
            assert not moved[name].any()
            continue
        torch.testing.assert_close(moved[name].flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
    other = loss_surface.direction(net, torch.Generator().manual_seed(1))
    assert not any(other[name].equal(moved[name]) for name in weights if weights[name].ndim > 1)


def test_a_point_of_the_surface_is_the_loss_of_a_network_with_these_weights() -> None:
    net, images, labels = network(), torch.randn(6, 3, 16, 16), torch.tensor([0, 1] * 3)
    losses = loss_surface.surface(net, 5, 3, images, labels)
    generator = torch.Generator().manual_seed(5)
    first, second = (loss_surface.direction(net, generator) for _ in range(2))
    moved = loss_surface.with_norms(net, loss_surface.STORED)
    with torch.no_grad():
        assert losses[1, 1] == pytest.approx(float(cross_entropy(moved(images), labels)), rel=1e-5)
        for name, weight in moved.named_parameters():
            weight += first[name] - second[name]
        assert losses[2, 0] == pytest.approx(float(cross_entropy(moved(images), labels)), rel=1e-4)


def test_the_statistics_of_the_batch_change_nothing_in_the_network() -> None:
    net = loss_surface.with_norms(network(), loss_surface.OF_BATCH)
    before = {name: value.clone() for name, value in net.named_buffers() if "num_batches" not in name}
    images, labels = 3 * torch.randn(6, 3, 16, 16), torch.tensor([0, 1] * 3)
    weights = dict(net.named_parameters())
    of_batch = loss_surface.loss(net, weights, images, labels)
    assert all(value.equal(dict(net.named_buffers())[name]) for name, value in before.items())
    stored = loss_surface.with_norms(net, loss_surface.STORED)
    assert of_batch != pytest.approx(loss_surface.loss(stored, weights, images, labels), rel=1e-3)
    with torch.no_grad():
        assert of_batch == pytest.approx(float(cross_entropy(net(images), labels)), rel=1e-5)


@pytest.mark.parametrize(
    ("surface", "share"),
    [
        (lambda x, y: x**2 + 3 * y**2 + x * y, 0),
        (lambda x, y: x**2 - y**2, 100),
        (lambda x, y: x**2 + y**2 + 3 * x * y, 100),
        (lambda x, y: np.where(x > 0.1, -(x**2), x**2) + y**2, 50),
        (lambda x, y: np.where(x > 0.1, np.nan, x**2) + y**2, 50),
        (lambda x, y: np.where(x > 0.1, np.inf, x**2) + y**2, 50),
    ],
    ids=["bowl", "saddle", "turned saddle", "half a bowl", "half is no number", "half is infinite"],
)
def test_the_share_that_is_not_convex(surface, share: float) -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 18), np.linspace(-1, 1, 18), indexing="ij")
    assert loss_surface.not_convex(surface(x, y)) == pytest.approx(share, abs=7)
