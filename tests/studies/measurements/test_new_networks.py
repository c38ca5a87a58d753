"""New networks: those with shortcuts against the zoo's, and pre-activation without norm."""

from __future__ import annotations

import torch

from resnets.models import zoo
from resnets.studies.measurements import new_networks

SETTING = "batch norm, He"


def test_a_plain_network_with_shortcuts_is_the_residual_network_of_the_zoo() -> None:
    net = new_networks.network(new_networks.SHORTCUTS, 8, SETTING, 2, seed=0)
    residual = zoo.build("cifar_resnet20", num_classes=2, num_blocks=(1, 1, 1)).double().train()
    residual.load_state_dict(net.state_dict())
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert net(images).equal(residual(images))


def test_a_pre_activation_network_without_norm_passes_negative_values_on() -> None:
    net = new_networks.network(new_networks.PREACTIVATION, 14, "no norm, He", 2, seed=0)
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    block = net.stage1.block2
    torch.testing.assert_close(block(x.clone()), x + block.branch(x.relu()))  # type: ignore[operator, union-attr]
