"""`paths`: numbers against their definitions, and the control."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
import torch
from tests.studies import known_images

from resnets.errors import UserError
from resnets.models.blocks import ResidualBlock
from resnets.studies.claims import paths
from resnets.studies.measurements import gradient_paths
from resnets.studies.study import Setup

NUMBERS = {"images": 20, "draws": 3}


def test_the_shares_are_those_of_all_paths() -> None:
    networks, images = known_images.load(known_images.checkpoint_file(blocks=1))
    found = paths.measure(Setup(NUMBERS, (), networks, images))
    assert [row["paths"] for row in found.rows] == [1, 3, 3, 1]
    pixels, net = images.stacked(known_images.PREPROCESS), networks[0].net
    # With three draws all paths are computed: three each through one and two of the three branches.
    total, weighted, by_length = torch.zeros(len(images)), torch.zeros(len(images)), [0.0] * 4
    for path in product((False, True), repeat=3):
        branches = torch.tensor(path)[:, None].expand(-1, len(images))
        norms = gradient_paths.path_gradient(net, pixels, images.labels, branches).flatten(1).norm(dim=1)
        total, weighted = total + norms, weighted + sum(path) * norms
        by_length[sum(path)] += float(norms.mean())
    for row, together in zip(found.rows, by_length, strict=True):
        assert row["gradient_of_a_path"] == pytest.approx(together / row["paths"], rel=1e-5)
        assert row["share_of_gradient"] == pytest.approx(together / float(total.mean()), rel=1e-5)
    (effect,) = found.effects.values()
    np.testing.assert_allclose(effect, weighted / total / 3 - 0.5, rtol=1e-4, atol=1e-6)
    assert [each.holds for each in found.controls] == [True]
    assert set(found.obstacles.values()) == {""}
    assert found.notes[0].startswith(f"{networks[0].name}: 90 % of the gradient on paths through ")


def test_numbers_ranges_and_factors() -> None:
    assert gradient_paths.number_of_paths(54).tolist() == pytest.approx([comb(54, k) for k in range(55)], rel=1e-12)
    # 2 % below, 90 % from 1 to 3, and 8 % above.
    assert paths.central_range(np.array([0.02, 0.3, 0.3, 0.34, 0.04])) == (1, 3)
    assert paths.growth_by_branch(2.0 * 0.39 ** np.arange(28)) == pytest.approx(0.39)
    assert paths.growth_by_branch(np.array([0.0, 0.0, 1.0, 2.0, 4.0])) == pytest.approx(2)


def test_a_gradient_that_takes_both_ways_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, images = known_images.load(known_images.checkpoint_file(blocks=1))

    def forward(self: gradient_paths.OnePart, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)

    monkeypatch.setattr(gradient_paths.OnePart, "forward", forward)
    assert [each.holds for each in paths.measure(Setup(NUMBERS, (), networks, images)).controls] == [False]


def test_shortcuts_that_were_taken_away_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    networks, images = known_images.load(known_images.checkpoint_file(blocks=1))
    monkeypatch.setattr(ResidualBlock, "forward", lambda block, x: block.act(block.branch(x) + 0 * block.shortcut(x)))
    (control,) = paths.measure(Setup(NUMBERS, (), networks, images)).controls
    assert not control.holds


def test_a_plain_network_is_refused() -> None:
    networks, _ = known_images.load(known_images.checkpoint_file("cifar_plain20", blocks=1))
    with pytest.raises(UserError, match=r"cifar_plain20.*does not have"):
        paths.check(networks)
