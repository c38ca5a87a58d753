"""Reliability diagram (`reliability.png`): accuracy as a function of confidence.

Predictions are divided into bins by their confidence; for a calibrated model the accuracy in each bin equals the confidence
(Guo et al., "On Calibration of Modern Neural Networks", 2017). The expected calibration error, ECE, is the mean distance
between the two, weighted by the number of predictions in each bin.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnets.report.figures import canvas
from resnets.report.number_formats import percent
from resnets.tasks.classification.calibration import BINS, bins, expected_error
from resnets.tasks.classification.confidence_intervals import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from resnets.tasks.classification.prediction_set import Predictions

_PANEL_WIDTH, _HEIGHT = 800, 960
_BEFORE = "#888888"  # gray


def draw(labeled: Predictions, out: Path) -> Path:
    """Draw the labeled predictions: before temperature scaling and after it, or once where no scaling is stored."""
    panels = [("As trained", canvas.VALIDATION, labeled)]
    if labeled.temperature != 1.0:
        panels = [
            ("Before temperature scaling", _BEFORE, replace(labeled, temperature=1.0)),
            (f"After temperature scaling (T = {labeled.temperature:.2f})", canvas.VALIDATION, labeled),
        ]
    heading = f"Mean confidence {percent(labeled.confidence.mean())}, accuracy {percent(labeled.correct.mean())}"
    with canvas.figure(out, _PANEL_WIDTH * len(panels), _HEIGHT, heading) as page:
        axes = page.subplots(2, len(panels), height_ratios=[1, 0.3], squeeze=False)
        for k, panel in enumerate(panels):
            _draw_panel(axes[0, k], axes[1, k], *panel)
    return out


def _draw_panel(diagram: Axes, histogram: Axes, name: str, color: str, labeled: Predictions) -> None:
    """Bars of accuracy with their 95 % intervals, where the gap up to the confidence is red, above a histogram."""
    table = bins(labeled.confidence, labeled.correct)
    low, high, num_images, confidence, accuracy = np.array([row for row in table if row.num_images]).T
    middle, width = (low + high) / 2, 0.9 / BINS
    diagram.bar(middle, accuracy, width, color=color, alpha=0.75)
    diagram.bar(middle, np.maximum(confidence - accuracy, 0), width, bottom=accuracy, color=canvas.WRONG, alpha=0.3)
    for x, right, total in zip(middle, accuracy * num_images, num_images, strict=True):
        diagram.plot([x, x], wilson(round(right), int(total)), color=canvas.TEXT, linewidth=1)
    diagram.plot([0, 1], [0, 1], color=canvas.TEXT, linewidth=1, linestyle=(0, (4, 3)))
    diagram.set_title(f"{name}: ECE {percent(expected_error(table))}", color=color)
    diagram.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy (dashed: perfectly calibrated; red: overconfident)")
    histogram.bar(middle, num_images, width, color=color)
    histogram.set(xlim=(0, 1), xlabel="confidence", ylabel=f"images ({len(labeled):,})")
    for axis in (diagram.xaxis, diagram.yaxis, histogram.xaxis):
        axis.set_major_formatter("{x:.0%}")
