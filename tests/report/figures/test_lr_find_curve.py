"""The plot of the learning-rate finder."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.report.figures import lr_find_curve

RATES = np.geomspace(1e-5, 1, 60)
LOSSES = 2.3 - 1.5 / (1 + np.exp(-4 * (np.log10(RATES) + 2.5))) + np.where(RATES > 0.5, 50, 0)


def test_the_suggestion_is_marked_where_it_is(tmp_path, pixels):
    places = []
    for suggestion in (1e-4, 1e-3, 1e-2):
        image = pixels(lr_find_curve.draw(list(RATES), list(LOSSES), suggestion, tmp_path / "lr.png"))
        assert image.shape == (lr_find_curve.HEIGHT, lr_find_curve.WIDTH, 3)
        blue = (np.abs(image - [0x00, 0x77, 0xBB]) < 20).all(axis=-1)
        places.append(np.flatnonzero(blue.sum(axis=0) > 50).mean())
    assert places[0] + 50 < places[1]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=3)


@pytest.mark.parametrize(
    ("rates", "losses"), [([], []), ([0.1], [1.0]), ([0.1, 0.2], [math.nan, math.inf]), ([0.1] * 3, [0.0] * 3)]
)
def test_few_or_no_losses(tmp_path, rates, losses):
    assert lr_find_curve.draw(rates, losses, 0.1 if losses == [1.0] else None, tmp_path / "lr.png").exists()


def test_the_running_mean_is_unbiased():
    assert lr_find_curve.smoothed([3.0] * 20) == pytest.approx([3.0] * 20)
    assert lr_find_curve.smoothed([1.0, 2.0]) == pytest.approx([1.0, (0.9 * 0.1 * 1 + 0.1 * 2) / 0.19])
