"""The reliability diagram."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resnets.tasks.classification.report import reliability_diagram

PINK, BLUE, GRAY = [0xF0, 0xC2, 0xB8], [0x40, 0x99, 0xCC], [0x88, 0x88, 0x88]  # red at 30 %, blue at 75 %: on white


def at(predicted, confidence: float, right: int, count: int = 100):
    """`count` predictions of two classes with one confidence, `right` of them right."""
    logit = np.log(confidence / (1 - confidence))
    results = predicted([f"{k}.png" for k in range(count)], ["ant", "bee"])
    true = np.zeros(count, np.int64)
    true[right:] = 1
    return replace(results, true=true, logits=np.tile([logit, 0.0], (count, 1)).astype(np.float32))


def near(image: np.ndarray, color: list[int]) -> np.ndarray:
    return (np.abs(image - color) <= 4).all(axis=-1)


def test_bars_are_as_high_as_the_accuracy_and_red_is_what_is_missing(tmp_path, predicted, pixels):
    heights, missing = [], []
    for right in (30, 60, 90):
        image = pixels(reliability_diagram.draw(at(predicted, 0.9, right), tmp_path / "a.png"))
        heights.append(near(image, BLUE).any(axis=1).sum())
        missing.append(near(image, PINK).any(axis=1).sum())
    assert heights[1:] == pytest.approx([2 * heights[0], 3 * heights[0]], rel=0.05)
    assert missing == pytest.approx([heights[1], heights[0], 0], abs=25)  # the diagonal crosses it
    assert not near(pixels(reliability_diagram.draw(at(predicted, 0.6, 95), tmp_path / "a.png")), PINK).any()


def test_two_panels_with_a_temperature_and_one_without(tmp_path, predicted, pixels):
    plain = at(predicted, 0.9, right=60)
    assert pixels(reliability_diagram.draw(plain, tmp_path / "a.png")).shape == (960, 800, 3)
    two = pixels(reliability_diagram.draw(replace(plain, temperature=2.0), tmp_path / "b.png"))
    assert two.shape == (960, 1600, 3)
    assert near(two[:, :800], GRAY).sum() > 500 > near(two[:, 800:], GRAY).sum()
    # Cooler confidence: less is missing after than before.
    assert near(two[:, 800:], PINK).sum() < 0.7 * near(two[:, :800], PINK).sum()
