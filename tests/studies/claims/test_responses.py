"""`responses`: the pairs of the claim, and the control."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.studies import known_images

from resnets.errors import UserError
from resnets.models.blocks import PlainBlock, ResidualBlock
from resnets.studies.claims import responses
from resnets.studies.study import Setup


def shallow() -> Path:
    return known_images.checkpoint_file(blocks=1)


def deep() -> Path:
    return known_images.checkpoint_file(blocks=2)


def test_the_claim_compares_plain_with_residual_and_depths() -> None:
    networks, images = known_images.load(deep(), known_images.checkpoint_file("cifar_plain20", blocks=1), shallow())
    found = responses.measure(Setup({}, (), networks, images))
    names = [network.name for network in networks]
    assert set(found.effects) == {f"{names[1]} - {names[2]}", f"{names[2]} - {names[0]}"}
    assert [control.holds for control in found.controls] == [True] * 4
    assert list(found.obstacles) == list(found.effects)
    assert "no probability belongs to these verdicts" in found.notes[0]
    stds = [row["std"] for row in found.rows if row["network"] == names[1]]
    assert found.notes[2] == f"{names[1]}: {np.mean(stds):.3f}, mean of 7 layers"
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


def test_shortcuts_that_were_put_in_or_taken_away_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, images = known_images.load(known_images.checkpoint_file("cifar_plain20", blocks=1), shallow())
    assert responses.measure(Setup({}, (), networks, images)).controls[-1].found == "0 of 3 blocks, and 3 of 3"
    with monkeypatch.context() as changed:
        changed.setattr(ResidualBlock, "forward", lambda block, x: block.act(block.branch(x)))
        assert responses.measure(Setup({}, (), networks, images)).controls[-1].found == "0 of 3 blocks, and 0 of 3"
    real = PlainBlock.forward
    monkeypatch.setattr(PlainBlock, "forward", lambda block, x: x + y if (y := real(block, x)).shape == x.shape else y)
    control = responses.measure(Setup({}, (), networks, images)).controls[-1]
    assert (control.found, control.holds) == ("1 of 3 blocks, and 3 of 3", False)


def test_a_network_of_another_kind_is_refused() -> None:
    networks, _ = known_images.load(known_images.checkpoint_file("cifar_highway20", blocks=1), shallow(), deep())
    with pytest.raises(UserError, match=r"plain with residual networks; '.*cifar_highway20.*' is neither"):
        responses.check(networks)
