"""`responses`: standard deviations against those of the layers run by hand, the pairs of the claim, and the control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.studies import known_images

from resnets.errors import UserError
from resnets.studies.claims import responses
from resnets.studies.study import Setup


def shallow() -> Path:
    return known_images.checkpoint_file(blocks=1)


def deep() -> Path:
    return known_images.checkpoint_file(blocks=2)


@torch.no_grad()
def test_the_deviations_are_those_of_the_layers_run_by_hand() -> None:
    (network,), images = known_images.load(shallow())
    x, net, expected = images.stacked(known_images.PREPROCESS), network.net, []
    x = net.stem.norm(net.stem.conv(x))
    expected.append(x.std().item())
    x = x.relu()
    for stage in net.stages.values():
        block = stage.block1
        first = block.branch.norm1(block.branch.conv1(x))
        second = block.branch.norm2(block.branch.conv2(first.relu()))
        expected += [first.std().item(), second.std().item()]
        x = (second + block.shortcut(x)).relu()
    found = responses.deviations(net, images.stacked(known_images.PREPROCESS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_claim_compares_plain_with_residual_and_depths() -> None:
    networks, images = known_images.load(deep(), known_images.checkpoint_file("cifar_plain20", blocks=1), shallow())
    found = responses.measure(Setup({}, (), networks, images))
    names = [network.name for network in networks]
    assert set(found.effects) == {f"{names[1]} - {names[2]}", f"{names[2]} - {names[0]}"}
    assert [control.holds for control in found.controls] == [True] * 3
    assert list(found.obstacles) == list(found.effects)
    torch.nn.init.zeros_(networks[0].net.fc.weight)
    found = responses.measure(Setup({}, (), networks, images))
    assert ["error is 50.0 %" in each for each in found.obstacles.values()].count(True) == 1
    with pytest.raises(UserError, match=r"two depths.*`weights` are of cifar_resnet20"):
        responses.check(networks[:1])


def test_scales_that_were_left_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, images = known_images.load(deep(), shallow())
    for network in networks:
        torch.nn.init.constant_(network.net.stage1.block1.branch.norm1.weight, 2.0)
    monkeypatch.setattr(responses, "with_unit_norms", lambda net: net)
    assert [each.holds for each in responses.measure(Setup({}, (), networks, images)).controls] == [False, False]
