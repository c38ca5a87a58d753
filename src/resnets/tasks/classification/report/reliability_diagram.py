"""Reliability diagram (`reliability.png`): accuracy as a function of confidence.

Predictions are divided into bins by their confidence; for a calibrated model the accuracy in each bin equals the confidence
(Guo et al., "On Calibration of Modern Neural Networks", 2017). The expected calibration error, ECE, is the mean distance
between the two, weighted by the number of predictions in each bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnets.report.figures import canvas
from resnets.report.number_formats import percent
from resnets.tasks.classification.calibration import BINS, Bin, bins, expected_error
from resnets.tasks.classification.confidence_intervals import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from resnets.tasks.classification.prediction_set import Predictions

_PANEL_WIDTH, HEIGHT = 800, 960


def draw(predictions: Predictions, out: str | Path) -> Path:
    """Draw the labeled predictions: before temperature scaling and after it, or once where no scaling is stored.

    The image is 960 pixels high and 800 or 1,600 wide.
    """
    labeled = predictions.with_labels()
    table = bins(labeled.confidence, labeled.correct)
    if labeled.temperature == 1.0:
        panels = [("As trained", canvas.VALIDATION, table)]
    else:
        raw = replace(labeled, temperature=1.0)
        panels = [
            ("Before temperature scaling", canvas.BEFORE, bins(raw.confidence, raw.correct)),
            (f"After temperature scaling (T = {labeled.temperature:.2f})", canvas.VALIDATION, table),
        ]
    headline = "No labeled images"
    if len(labeled):
        headline = f"Mean confidence {percent(labeled.confidence.mean())}, accuracy {percent(labeled.correct.mean())}"
    with canvas.figure(out, _PANEL_WIDTH * len(panels), HEIGHT) as page:
        canvas.heading(page, headline)
        all_axes = page.subplots(2, len(panels), height_ratios=[1, 0.3], squeeze=False)
        for (diagram, histogram), panel in zip(all_axes.T, panels, strict=True):
            _draw_panel(diagram, histogram, *panel)
    return Path(out)


def _draw_panel(diagram: Axes, histogram: Axes, name: str, color: str, table: Sequence[Bin]) -> None:
    """Bars of accuracy with their 95 % intervals, where the gap up to the confidence is red, above a histogram."""
    from matplotlib.ticker import MaxNLocator

    middle, num_images, confidence, accuracy = (
        np.array(
            [
                ((row.low + row.high) / 2, row.num_images, row.confidence, row.accuracy)
                for row in table
                if row.num_images
            ]
        )
        .reshape(-1, 4)
        .T
    )
    width = 0.9 / BINS
    diagram.bar(middle, accuracy, width, color=color, alpha=0.75)
    diagram.bar(middle, np.maximum(confidence - accuracy, 0), width, bottom=accuracy, color=canvas.WRONG, alpha=0.3)
    for x, right, total in zip(middle, accuracy * num_images, num_images, strict=True):
        diagram.plot([x, x], wilson(round(right), int(total)), color=canvas.TEXT, linewidth=1)
    diagram.plot([0, 1], [0, 1], color=canvas.TEXT, linewidth=1, linestyle=(0, (4, 3)))
    diagram.set_title(f"{name}: ECE {percent(expected_error(table))}", color=color)
    diagram.set(ylim=(0, 1.02), ylabel="accuracy (dashed: perfectly calibrated; red: overconfident)")
    histogram.bar(middle, num_images, width, color=color)
    histogram.set(xlabel="confidence", ylabel=f"images ({sum(num_images):,.0f})")
    histogram.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    canvas.percent_scale(diagram.yaxis)
    for axes in (diagram, histogram):
        axes.set_xlim(0, 1)
        canvas.percent_scale(axes.xaxis)
