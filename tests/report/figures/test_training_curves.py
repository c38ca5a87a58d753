"""The curves of a run, whatever its task measures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.report.figures import training_curves
from resnets.report.figures.training_curves import Panel

BLUE = [0x00, 0x77, 0xBB]


def test_the_panels_are_the_columns_that_have_values(rows):
    table = rows(2)
    table[0]["val/nothing"] = table[1]["val/nothing"] = None
    assert [panel.column for panel in training_curves.find_panels(table)] == ["loss", "mean_average_precision"]
    assert training_curves.find_panels([{"val/f1": 0.5}, {"train/loss": 1.0}]) == [
        Panel("loss", "loss"),
        Panel("f1", "f1"),
    ]


@pytest.mark.parametrize("epochs", [0, 1, 41])
def test_any_number_of_epochs(tmp_path, rows, pixels, epochs):
    image = pixels(training_curves.draw(rows(epochs), tmp_path / "results.png", best_epoch=epochs or None))
    assert image.shape[1] == training_curves.WIDTH
    assert ((image == BLUE).all(axis=-1).sum() > 100) == (epochs > 0)


def test_a_gap_a_spike_and_not_a_number_are_drawn(tmp_path, rows, pixels):
    table = rows(6)
    table[2]["val/loss"] = None
    table[3]["train/loss"] = math.nan
    table[4]["train/loss"] = 1e6
    table[5]["lr"] = math.inf
    panels = [Panel("loss", "Loss"), Panel("mean_average_precision", "mAP, %", factor=100)]
    image = pixels(training_curves.draw(table, tmp_path / "results.png", panels=panels))
    loss = (image == BLUE).all(axis=-1)[100:600, 100:750]
    # On a logarithmic scale the spike leaves the other losses far above the bottom, and they still differ.
    assert np.ptp(np.flatnonzero(loss.any(axis=1))) > 20


def test_the_best_epoch_is_marked_where_it_is(tmp_path, rows, pixels):
    places = []
    for best in (1, 3, 5):
        path = training_curves.draw(rows(5), tmp_path / "results.png", panels=[Panel("loss", "Loss")], best_epoch=best)
        gray = (np.abs(pixels(path) - [0x59, 0x63, 0x6E]) < 60).all(axis=-1)
        places.append(gray.sum(axis=0).argmax())  # the dashed line
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=4)
    assert places[0] < places[1]
