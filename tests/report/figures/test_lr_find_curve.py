"""The plot of the learning-rate finder."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.report.figures import canvas, lr_find_curve

RATES = np.geomspace(1e-5, 1, 60)
LOSSES = 2.3 - 1.5 / (1 + np.exp(-4 * (np.log10(RATES) + 2.5))) + np.where(RATES > 0.5, 50, 0)


@pytest.mark.parametrize("suggestion", [1e-4, 1e-3, 1e-2])
def test_the_suggestion_is_marked_where_it_is(tmp_path, pixels, near, suggestion):
    path = lr_find_curve.draw(list(RATES), list(LOSSES), suggestion, tmp_path / "lr.png")
    image = pixels(path)
    assert image.shape == (lr_find_curve.HEIGHT, lr_find_curve.WIDTH, 3)
    columns = np.flatnonzero(near(image, canvas.VALIDATION, 20).sum(axis=0) > 50)
    low, high = math.log(1e-5 / 1.1), math.log(1.1)
    expected = 100 + 1050 * (math.log(suggestion) - low) / (high - low)
    assert columns.mean() == pytest.approx(expected, abs=2)


def test_without_a_suggestion_nothing_is_marked(tmp_path, pixels, near):
    image = pixels(lr_find_curve.draw(list(RATES), list(LOSSES), None, tmp_path / "lr.png"))
    assert near(image, canvas.VALIDATION, 20).sum() == 0
    assert near(image, canvas.TRAINING).sum() > 1000


@pytest.mark.parametrize(
    ("rates", "losses"), [([], []), ([0.1], [1.0]), ([0.1, 0.2], [math.nan, math.inf]), ([0.1] * 3, [0.0] * 3)]
)
def test_few_or_no_losses(tmp_path, rates, losses):
    assert lr_find_curve.draw(rates, losses, 0.1 if losses == [1.0] else None, tmp_path / "lr.png").exists()


def test_the_running_mean_is_unbiased():
    assert lr_find_curve.smoothed([3.0] * 20) == pytest.approx([3.0] * 20)
    assert lr_find_curve.smoothed([1.0, 2.0]) == pytest.approx([1.0, (0.9 * 0.1 * 1 + 0.1 * 2) / 0.19])
