"""The gradients on paths: all of them add up to the gradient, and each is that of the layers on it."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from tests import narrow_networks
from torch.nn.functional import cross_entropy

from resnets.studies import gradient_paths, lesions


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_preresnet110", "resnet50_v2"])
def test_the_gradients_of_all_paths_add_up_to_the_gradient(name: str) -> None:
    net, images, labels = narrow_networks.network(name), narrow_networks.images((33, 35)), torch.tensor([0, 3])
    names = list(lesions.named_blocks(net))
    paths = [
        gradient_paths.path_gradient(net, images, labels, chosen)
        for count in range(len(names) + 1)
        for chosen in combinations(names, count)
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
    for block in lesions.named_blocks(net).values():
        x = block.act(block.branch(x) + block.shortcut(x).detach())  # type: ignore[operator, union-attr]
    (expected,) = torch.autograd.grad(cross_entropy(net.forward_head(x), labels, reduction="sum"), pixels)
    found = gradient_paths.path_gradient(net, images, labels, list(lesions.named_blocks(net)))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient_paths.norms(found), expected.flatten(1).norm(dim=1))


def test_networks_without_shortcuts_have_no_paths() -> None:
    assert gradient_paths.has_paths(narrow_networks.network("cifar_resnet20"))
    assert not gradient_paths.has_paths(narrow_networks.network("cifar_plain20"))
    assert not gradient_paths.has_paths(narrow_networks.network("cifar_highway20"))
