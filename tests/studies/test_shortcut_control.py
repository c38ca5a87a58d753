"""Which blocks have a shortcut, by what they compute."""

from __future__ import annotations

import pytest
import torch
from tests import narrow_networks

from resnets.models.blocks import PlainBlock, ResidualBlock
from resnets.models.resnet import ResNet
from resnets.studies.measurements import edit_blocks, new_networks
from resnets.studies.shortcut_control import blocks_with_shortcut, pass_on_control

NETWORKS = [(name, {}) for name in ("resnet18", "resnet50", "cifar_resnet20", "cifar_preresnet110", "cifar_highway20")]
NETWORKS += [("cifar_resnet20", {"block": block}) for block in ("scaled", "gated", "gated_shortcut", "act_only")]
NETWORKS += [("cifar_resnet20", {"attention": "se"})]


@pytest.mark.parametrize(("name", "changes"), NETWORKS)
def test_every_kind_of_shortcut_is_one(name: str, changes: dict[str, str]) -> None:
    net = narrow_networks.network(name, **changes)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found = blocks_with_shortcut(net)
    assert found == [not isinstance(block, PlainBlock) for block in edit_blocks.named_blocks(net).values()]
    assert all(value.equal(before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("setting", new_networks.SETTINGS)
def test_a_shortcut_is_seen_without_norms_too(setting: str) -> None:
    plain, residual = (
        new_networks.network(kind, 8, setting, 2, 0) for kind in (new_networks.PLAIN, new_networks.SHORTCUTS)
    )
    control = pass_on_control("both", [(plain, residual), (plain, residual)])
    assert (control.found, control.holds) == ("0 of 6 blocks, and 6 of 6", True)
    assert not pass_on_control("swapped", [(residual, plain)]).holds


def test_norms_that_were_trained_hide_no_missing_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(name: str) -> ResNet:
        net = narrow_networks.network(name)
        with torch.no_grad():
            for buffer in net.buffers():
                if buffer.is_floating_point():
                    buffer.add_(torch.rand(buffer.shape))
        return net

    assert pass_on_control("", [(trained("cifar_plain20"), trained("cifar_resnet20"))]).holds
    monkeypatch.setattr(ResidualBlock, "forward", lambda block, x: block.act(block.branch(x)))
    assert not any(blocks_with_shortcut(trained("cifar_resnet20")))
