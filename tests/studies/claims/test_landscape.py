"""`landscape`: plain networks against residual ones, and its figure."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from tests.studies import known_images

from resnets.errors import UserError
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
    assert not any(control.holds for control in landscape.measure(setup(seeds=1)).controls)


def test_networks_without_a_pair_of_one_depth_are_refused() -> None:
    deeper, _ = known_images.load(known_images.checkpoint_file("cifar_plain20", blocks=2))
    plain, residual = setup().networks
    landscape.check([plain, residual, *deeper])
    for networks in ([residual, residual], [*deeper, residual], [plain, plain]):
        with pytest.raises(UserError, match="of one depth; the `weights` are of cifar_"):
            landscape.check(networks)
