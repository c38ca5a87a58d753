"""`training-gradients`: the rows against gradients before and after a step, and the controls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.studies import known_images

from resnets.studies import inputs
from resnets.studies.claims import gradients, training_gradients
from resnets.studies.measurements import new_networks
from resnets.studies.study import Measurement, Setup


def test_the_ratio_is_that_of_the_new_and_of_the_trained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "IMGSZ", 8)
    images = inputs.read_images(known_images.folder(), 40, [])
    numbers = {"images": 40, "batch": 20, "steps": 5, "depth1": 8, "depth2": 14}
    found = training_gradients.measure(Setup(numbers, range(2), images=images))
    assert len(found.rows) == 2 * 2 * 2 * 3
    new = new_networks.network(new_networks.PLAIN, 14, training_gradients.SETTING, 2, seed=1).float()
    norms = gradients.gradient_norms(new, images.stacked(), images.labels)
    rows = {(row["seed"], row["kind"], row["depth"], row["step"]): row for row in found.rows}
    row = rows[1, new_networks.PLAIN, 14, 0]
    np.testing.assert_allclose([row["first"], row["last"]], [norms[0], norms[-1]], rtol=1e-4)
    by_step = [rows[1, new_networks.PLAIN, 14, step]["first"] for step in (0, 1, 5)]
    assert len(set(by_step)) == 3
    # Only step 5 counts.
    plain, differences = found.effects.values()
    for seed in range(2):
        changes = {}
        for kind in (new_networks.PLAIN, new_networks.SHORTCUTS):
            one, other = (rows[seed, kind, depth, 5] for depth in (8, 14))
            changes[kind] = np.log10(other["first"] / other["last"]) - np.log10(one["first"] / one["last"])
        assert plain[seed] == pytest.approx(changes[new_networks.PLAIN])
        assert differences[seed] == pytest.approx(changes[new_networks.PLAIN] - changes[new_networks.SHORTCUTS])
    assert [control.holds for control in found.controls] == [True, True]


def measure_with(known: Callable[[str, int], tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> Measurement:
    """The study of networks whose first and last layer have known gradients after five steps, and 1 and 1 before."""
    images = inputs.read_images(known_images.folder(), 4, [])
    numbers = {"images": 4, "batch": 2, "steps": 5, "depth1": 8, "depth2": 14}

    def ratios(seed: int, kind: str, depth: int, *_: object) -> dict[int, tuple[float, float]]:
        return {0: (1.0, 1.0), 5: known(kind, depth)}

    monkeypatch.setattr(training_gradients, "ratios", ratios)
    return training_gradients.measure(Setup(numbers, range(3), images=images))


def test_what_vanishes_with_shortcuts_too_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_with(lambda _, depth: (10.0**-depth, 0.01), monkeypatch)
    plain, differences = found.effects.values()
    assert plain == pytest.approx(-6)
    assert differences == pytest.approx(0)
    assert [control.holds for control in found.controls] == [True, True]
    assert found.notes == [
        "14 layers, with shortcuts: -6 in the mean, from -6 to -6",
        "14 layers, plain, before the first step: 0 in the mean, from 0 to 0",
        "14 layers, plain, the norm of the first layer alone: -6 in the mean, from -6 to -6",
    ]


def test_shortcuts_that_were_not_removed_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_with(lambda kind, depth: (1.0 if kind == new_networks.PLAIN else 2.0, 1.0), monkeypatch)
    assert [control.holds for control in found.controls] == [True, False]


def test_shortcuts_that_were_not_added_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_networks, "_add_shortcuts", lambda net: None)
    found = measure_with(lambda kind, depth: (1.0, 1.0), monkeypatch)
    assert [control.holds for control in found.controls] == [False, True]
