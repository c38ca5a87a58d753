"""The gradients on paths: all of them add up to the gradient, and each is that of the layers on it."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
import torch
from tests import narrow_networks
from torch.nn.functional import cross_entropy

from resnets.studies.measurements import edit_blocks, gradient_paths


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_preresnet110", "resnet50_v2"])
def test_the_gradients_of_all_paths_add_up_to_the_gradient(name: str) -> None:
    net, images, labels = narrow_networks.network(name), narrow_networks.images((33, 35)), torch.tensor([0, 3])
    blocks = len(edit_blocks.named_blocks(net))
    paths = [
        gradient_paths.path_gradient(net, images, labels, torch.tensor(chosen)[:, None].expand(-1, 2))
        for chosen in product((False, True), repeat=blocks)
    ]
    pixels = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(cross_entropy(net(pixels), labels, reduction="sum"), pixels)
    torch.testing.assert_close(sum(paths), expected, rtol=1e-9, atol=1e-12)
    assert len({float(path.norm()) for path in paths}) == len(paths)
    assert gradient_paths.input_gradient(net, images, labels).equal(expected)


def test_the_longest_path_is_that_of_the_network_without_shortcuts_in_its_gradient() -> None:
    net, images = narrow_networks.network("cifar_resnet20"), narrow_networks.images((33, 35))
    labels = torch.zeros(len(images), dtype=torch.long)
    pixels = images.clone().requires_grad_()
    x = net.stem(pixels)
    for block in edit_blocks.named_blocks(net).values():
        x = block.act(block.branch(x) + block.shortcut(x).detach())  # type: ignore[operator, union-attr]
    (expected,) = torch.autograd.grad(cross_entropy(net.forward_head(x), labels, reduction="sum"), pixels)
    every = torch.ones(len(edit_blocks.named_blocks(net)), len(images), dtype=torch.bool)
    found = gradient_paths.path_gradient(net, images, labels, every)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient_paths.norms(found), expected.flatten(1).norm(dim=1))


def test_each_image_takes_its_own_path() -> None:
    net, images, labels = (
        narrow_networks.network("cifar_resnet20"),
        narrow_networks.images((33, 35)),
        torch.tensor([0, 3]),
    )
    shape = len(edit_blocks.named_blocks(net)), len(images)
    branches = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    assert not branches[:, 0].equal(branches[:, 1])
    found = gradient_paths.path_gradient(net, images, labels, branches)
    for one in (slice(0, 1), slice(1, 2)):
        alone = gradient_paths.path_gradient(net, images[one], labels[one], branches[:, one])
        torch.testing.assert_close(found[one], alone, rtol=1e-9, atol=1e-15)


def test_each_image_has_its_own_draws_and_every_path_is_as_probable() -> None:
    drawn = gradient_paths.draw_paths(2, 5, 3_000, 2, np.random.default_rng(0))
    assert [tuple(each.shape) for each in drawn] == [(5, 3_000)] * 2
    together = torch.cat(drawn, dim=1)
    assert (together.sum(dim=0) == 2).all()
    found, counts = together.T.unique(dim=0, return_counts=True)
    assert len(found) == comb(5, 2)
    # 6,000 draws of ten paths: 600 each, with a standard deviation of 23.
    assert (counts - 600).abs().max() < 120
    every = gradient_paths.draw_paths(2, 5, 7, comb(5, 2), np.random.default_rng(0))
    assert len({tuple(each[:, 0].tolist()) for each in every}) == comb(5, 2)
    assert all((each == each[:, :1]).all() for each in every)


def test_networks_without_shortcuts_have_no_paths() -> None:
    assert gradient_paths.has_paths(narrow_networks.network("cifar_resnet20"))
    assert not gradient_paths.has_paths(narrow_networks.network("cifar_plain20"))
    assert not gradient_paths.has_paths(narrow_networks.network("cifar_highway20"))
