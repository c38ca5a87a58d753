"""The curves of a run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.report.figures import canvas, training_curves


def test_the_best_epoch_is_the_trainers_best(rows):
    table = rows(5)
    assert training_curves.best(table)["epoch"] == 4
    table[1]["val/accuracy_top1"] = table[3]["val/accuracy_top1"]
    assert training_curves.best(table)["epoch"] == 4  # the lower loss
    table[1]["val/loss"] = table[3]["val/loss"]
    assert training_curves.best(table)["epoch"] == 2  # the earlier
    table[1]["val/loss"] = math.nan
    assert training_curves.best(table)["epoch"] == 4
    assert training_curves.best(rows(3, val=False)) is None
    assert training_curves.best([]) is None


@pytest.mark.parametrize("epochs", [0, 1, 2, 40, 41, 200])
def test_any_number_of_epochs(tmp_path, rows, pixels, near, epochs):
    image = pixels(training_curves.draw(rows(epochs), tmp_path / "results.png"))
    assert image.shape == (training_curves.HEIGHT, training_curves.WIDTH, 3)
    for color in (canvas.TRAINING, canvas.VALIDATION):
        assert (near(image, color).sum() > 100) == (epochs > 0)


def test_without_validation_there_is_one_line_and_no_mark(tmp_path, rows, pixels, near):
    image = pixels(training_curves.draw(rows(5, val=False), tmp_path / "results.png"))
    assert near(image, canvas.TRAINING).sum() > 500
    assert near(image, canvas.VALIDATION).sum() == 0
    marked = pixels(training_curves.draw(rows(5), tmp_path / "results.png"))
    plot = slice(140, 600)  # between the names above the panels and the epochs below them
    assert near(image, canvas.TEXT)[plot].sum() == 0
    assert near(marked, canvas.TEXT)[plot].sum() > 50


def test_the_mark_is_at_the_best_epoch(tmp_path, rows, pixels, near):
    places = []
    for best in (0, 2, 4):
        table = rows(5)
        for place, row in enumerate(table):
            row["val/accuracy_top1"] = 0.9 if place == best else 0.5
        image = pixels(training_curves.draw(table, tmp_path / "results.png"))
        ring = near(image, canvas.TEXT)[140:600, :800]
        places.append(np.flatnonzero(ring.any(axis=0)).mean())
    assert places[0] < places[1] < places[2]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=2)


def test_a_gap_a_spike_and_not_a_number_are_drawn(tmp_path, rows, pixels, near):
    table = rows(6)
    table[2]["val/loss"] = None
    table[3]["train/loss"] = math.nan
    table[4]["train/loss"] = 1e6
    table[5]["lr"] = math.inf
    image = pixels(training_curves.draw(table, tmp_path / "results.png"))
    loss = near(image, canvas.VALIDATION)[140:600, 100:750]
    # On a logarithmic scale the spike leaves the other losses far above the bottom, and they still differ.
    assert np.ptp(np.flatnonzero(loss.any(axis=1))) > 20
    assert loss.sum() > 100
