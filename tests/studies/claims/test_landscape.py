"""`landscape`: plain networks against residual ones, and its figure."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.studies import known_images

from resnets.errors import UserError
from resnets.models.blocks import PlainBlock, ResidualBlock
from resnets.report.figures import canvas
from resnets.studies.claims import landscape
from resnets.studies.measurements import loss_surface
from resnets.studies.study import Setup

NUMBERS = {"images": 20, "side": 3}


def setup(seeds: int = 3) -> Setup:
    files = known_images.checkpoint_file("cifar_plain20", blocks=1), known_images.checkpoint_file(blocks=1)
    networks, images = known_images.load(*files)
    return Setup(NUMBERS, range(seeds), networks, images)


def test_plain_networks_are_compared_with_residual_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(
            landscape, "not_convex", np.mean
        )  # a number that differs between the networks at these few points
        found = landscape.measure(setup())
    assert all(control.holds for control in found.controls)
    plain, residual = (network.name for network in setup().networks)
    losses = {key: [row["loss"] for row in found.rows if (row["network"], row["statistics"], row["seed"]) == key]
              for key in product((plain, residual), (loss_surface.STORED, loss_surface.OF_BATCH), range(3))}  # fmt: skip
    for statistics, values in zip((loss_surface.STORED, loss_surface.OF_BATCH), found.effects.values(), strict=True):
        expected = [np.mean(losses[plain, statistics, k]) - np.mean(losses[residual, statistics, k]) for k in range(3)]
        np.testing.assert_allclose(values, expected)
    assert list(found.effects) == [
        f"{plain} - {residual}, {each}" for each in (loss_surface.STORED, loss_surface.OF_BATCH)
    ]
    assert {len(values) for values in found.effects.values()} == {3}
    assert len(found.rows) == 2 * 2 * 3 * 9
    with canvas.figure(tmp_path / "figure.png", 1500, 900, "landscape") as page:
        landscape.draw(found.rows, page)
        assert [len(axes.collections) for axes in page.axes[:4]] == [3] * 4  # a set of contours for each direction
    # Directions that are added twice are noticed by the grid of one point.
    itself = loss_surface.loss
    monkeypatch.setattr(
        loss_surface, "loss", lambda net, weights, *data: itself(net, {k: 1.1 * v for k, v in weights.items()}, *data)
    )
    *one_point, _ = landscape.measure(setup(seeds=1)).controls
    assert not any(control.holds for control in one_point)


def test_networks_without_a_pair_of_one_depth_are_refused() -> None:
    deeper, _ = known_images.load(known_images.checkpoint_file("cifar_plain20", blocks=2))
    plain, residual = setup().networks
    landscape.check([plain, residual, *deeper])
    for networks in ([residual, residual], [*deeper, residual], [plain, plain]):
        with pytest.raises(UserError, match="of one depth; the `weights` are of cifar_"):
            landscape.check(networks)


def test_shortcuts_that_were_put_in_or_taken_away_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    assert landscape.measure(setup(seeds=1)).controls[-1].found == "0 of 3 blocks, and 3 of 3"
    with monkeypatch.context() as changed:
        changed.setattr(ResidualBlock, "forward", lambda block, x: block.act(block.branch(x)))
        assert not landscape.measure(setup(seeds=1)).controls[-1].holds
    real = PlainBlock.forward
    monkeypatch.setattr(PlainBlock, "forward", lambda block, x: x + y if (y := real(block, x)).shape == x.shape else y)
    assert not landscape.measure(setup(seeds=1)).controls[-1].holds


def test_losses_that_are_not_finite_or_all_equal_are_drawn(tmp_path: Path) -> None:
    rows = landscape.measure(setup(seeds=1)).rows
    for losses in ([math.nan, math.inf, 0.0, 2.0], [1.0]):
        changed = [row | {"loss": losses[number % len(losses)]} for number, row in enumerate(rows)]
        with canvas.figure(tmp_path / "figure.png", 1500, 900, "landscape") as page:
            landscape.draw(changed, page)


def test_a_network_that_has_not_learned_is_an_obstacle_to_its_own_pairs() -> None:
    files = [known_images.checkpoint_file(name, blocks=1, seed=seed) for name in ("cifar_plain20", "cifar_resnet20")
             for seed in range(2)]  # fmt: skip
    networks, images = known_images.load(*files)
    before = landscape.measure(Setup(NUMBERS, range(1), networks, images)).obstacles
    torch.nn.init.zeros_(networks[3].net.fc.weight)
    after = landscape.measure(Setup(NUMBERS, range(1), networks, images)).obstacles
    assert len(before) == 8
    assert list(before.values()).count("") > 2
    for pair, obstacle in after.items():
        assert ("not learned" in obstacle) if networks[3].name in pair else (obstacle == before[pair])
