"""The reliability diagram."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resnets.report.figures import canvas, reliability_diagram

PINK = "#F0C2B8"  # red at 30 % on white: surer than right


def at(predicted, confidence: float, right: int, count: int = 100):
    """`count` predictions of two classes with one confidence, `right` of them right."""
    logit = np.log(confidence / (1 - confidence))
    results = predicted([f"{k}.png" for k in range(count)], ["ant", "bee"])
    true = np.zeros(count, np.int64)
    true[right:] = 1
    return replace(results, true=true, logits=np.tile([logit, 0.0], (count, 1)).astype(np.float32))


def test_red_is_what_is_missing(tmp_path, predicted, pixels, near):
    sure = pixels(reliability_diagram.draw(at(predicted, 0.9, right=40), tmp_path / "a.png"))
    honest = pixels(reliability_diagram.draw(at(predicted, 0.9, right=90), tmp_path / "b.png"))
    modest = pixels(reliability_diagram.draw(at(predicted, 0.6, right=95), tmp_path / "c.png"))
    # The bar is 0.9 / 15 of 640 pixels wide, and half of 500 pixels are missing.
    assert near(sure, PINK, 4).sum() == pytest.approx(0.06 * 640 * 0.5 * 500, rel=0.15)
    assert near(honest, PINK, 4).sum() < 200
    assert near(modest, PINK, 4).sum() < 200


def test_the_bar_is_as_high_as_the_accuracy(tmp_path, predicted, pixels, near):
    heights = []
    for right in (20, 60, 100):
        image = pixels(reliability_diagram.draw(at(predicted, 0.9, right=right), tmp_path / "a.png"))
        blue = near(image, "#4099CC", 4)[170:676, 100:740]
        heights.append(blue.sum(axis=1).astype(bool).sum())
    assert heights == pytest.approx([98, 294, 490], abs=12)


def test_two_panels_with_a_temperature_and_one_without(tmp_path, predicted, pixels, near):
    plain = at(predicted, 0.9, right=60)
    one = pixels(reliability_diagram.draw(plain, tmp_path / "a.png"))
    two = pixels(reliability_diagram.draw(replace(plain, temperature=2.0), tmp_path / "b.png"))
    assert one.shape == (960, 800, 3)
    assert two.shape == (960, 1600, 3)
    assert near(two[:, :800], canvas.BEFORE).sum() > 500
    assert near(two[:, 800:], canvas.BEFORE).sum() < 100
    assert near(two[:, :800], canvas.VALIDATION).sum() < 100
    # Cooler confidence: less is missing after than before.
    assert near(two[:, 800:], PINK, 4).sum() < 0.7 * near(two[:, :800], PINK, 4).sum()


def test_without_labels_the_frame_stays_empty(tmp_path, predicted, pixels):
    unlabeled = replace(at(predicted, 0.9, right=60), true=np.full(100, -1))
    assert pixels(reliability_diagram.draw(unlabeled, tmp_path / "a.png")).shape == (960, 800, 3)
