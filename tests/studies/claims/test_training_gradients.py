"""`training-gradients`: the rows against gradients before and after a step, and the control."""

from __future__ import annotations

import numpy as np
import pytest
from tests.studies import known_images

from resnets.studies import inputs
from resnets.studies.claims import gradients, training_gradients
from resnets.studies.study import Setup


def test_the_ratio_is_that_of_the_new_and_of_the_trained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "IMGSZ", 8)
    images = inputs.read_images(known_images.folder(), 40, [])
    numbers = {"images": 40, "batch": 20, "steps": 5, "depth1": 8, "depth2": 14}
    found = training_gradients.measure(Setup(numbers, range(2), images=images))
    assert len(found.rows) == 2 * 2 * 2 * 3
    new = gradients.network(gradients.PLAIN, 14, training_gradients.SETTING, 2, seed=1).float()
    norms = gradients.gradient_norms(new, images.stacked(), images.labels)
    rows = {(row["seed"], row["kind"], row["depth"], row["step"]): row for row in found.rows}
    row = rows[1, gradients.PLAIN, 14, 0]
    np.testing.assert_allclose([row["first"], row["last"]], [norms[0], norms[-1]], rtol=1e-4)
    by_step = [rows[1, gradients.PLAIN, 14, step]["first"] for step in (0, 1, 5)]
    assert len(set(by_step)) == 3
    # Only step 5 counts.
    (values,) = found.effects.values()
    for seed in range(2):
        one, other = (rows[seed, gradients.PLAIN, depth, 5] for depth in (8, 14))
        expected = np.log10(other["first"] / other["last"]) - np.log10(one["first"] / one["last"])
        assert values[seed] == pytest.approx(expected)
    assert [control.holds for control in found.controls] == [True]


def test_a_gradient_that_vanishes_with_shortcuts_fails_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    images = inputs.read_images(known_images.folder(), 4, [])
    numbers = {"images": 4, "batch": 2, "steps": 5, "depth1": 8, "depth2": 14}

    def vanishing(seed: int, kind: str, depth: int, *_: object) -> dict[int, tuple[float, float]]:
        return {5: (10.0**-depth, 1.0)}

    monkeypatch.setattr(training_gradients, "ratios", vanishing)
    found = training_gradients.measure(Setup(numbers, range(3), images=images))
    assert [control.holds for control in found.controls] == [False]
    assert next(iter(found.effects.values())) == pytest.approx(-6)
    assert found.notes == ["with shortcuts, 14 layers: -6 in the mean, from -6 to -6"]
