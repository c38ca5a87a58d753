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

from resnets.report.figures import canvas
from resnets.report.figures.canvas import Canvas, Frame
from resnets.tasks.classification.calibration import BINS, Bin, bins, expected_error
from resnets.tasks.classification.confidence_intervals import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from resnets.tasks.classification.prediction_set import Predictions

_PANEL_WIDTH, HEIGHT = 800, 960
_DIAGRAM = Frame(100, 175, 640, 500)
_HISTOGRAM = Frame(100, 755, 640, 110)


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
    page = Canvas(_PANEL_WIDTH * len(panels), HEIGHT)
    page.text(_DIAGRAM.left, 40, _headline(panels[-1][2]), size=26, bold=True, max_width=page.width - 120)
    for index, (name, color, table) in enumerate(panels):
        _panel(page, _PANEL_WIDTH * index, name, color, table)
    return page.save(out)


def _headline(table: Sequence[Bin]) -> str:
    total = sum(row.num_images for row in table)
    if not total:
        return "No labeled images"
    confidence = sum(row.num_images * row.confidence for row in table if row.num_images) / total
    accuracy = sum(row.num_images * row.accuracy for row in table if row.num_images) / total
    return f"Mean confidence {100 * confidence:.1f} %, accuracy {100 * accuracy:.1f} %"


def _panel(page: Canvas, shift: float, name: str, color: str, table: Sequence[Bin]) -> None:
    left, right = _DIAGRAM.left + shift, _DIAGRAM.left + shift + _DIAGRAM.width
    page.text(left, 92, name, size=20, bold=True, color=color)
    page.text(right, 92, f"ECE {100 * expected_error(table):.1f} %", size=20, bold=True, color=color, align="right")
    page.text(left, 140, "Accuracy", size=18, bold=True)
    page.text(
        right, 140, "dashed: perfectly calibrated; red: overconfident", size=17, color=canvas.MUTED, align="right"
    )
    _diagram(page.axes(_DIAGRAM._replace(left=left)), color, table)
    page.text(left, 726, f"Predictions ({sum(row.num_images for row in table):,})", size=18, bold=True)
    _histogram(page.axes(_HISTOGRAM._replace(left=left)), color, table)
    page.text(left + _DIAGRAM.width / 2, HEIGHT - 40, "confidence", size=18, color=canvas.MUTED, align="center")


def _diagram(axes: Axes, color: str, table: Sequence[Bin]) -> None:
    """Bars of accuracy with their 95 % intervals; the gap up to the confidence is red."""
    width = 0.9 / BINS
    for row in table:
        if not row.num_images:
            continue
        middle = (row.low + row.high) / 2
        axes.bar(middle, row.accuracy, width, color=color, alpha=0.75, edgecolor="none", linewidth=0)
        gap = max(0.0, row.confidence - row.accuracy)
        axes.bar(middle, gap, width, bottom=row.accuracy, color=canvas.WRONG, alpha=0.3, edgecolor="none", linewidth=0)
        span = wilson(round(row.accuracy * row.num_images), row.num_images)
        axes.plot([middle, middle], span, color=canvas.TEXT, linewidth=canvas.points(2), linestyle="-", marker="None")
    axes.plot(
        [0, 1], [0, 1], color=canvas.BACKGROUND, linewidth=canvas.points(5.5), alpha=0.6, linestyle="-", marker="None"
    )
    axes.plot([0, 1], [0, 1], color=canvas.TEXT, linewidth=canvas.points(2), linestyle=(0, (4, 3)), marker="None")
    axes.set_ylim(0, 1.02)
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis)
    axes.set_xlim(0, 1)


def _histogram(axes: Axes, color: str, table: Sequence[Bin]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    middles = [(row.low + row.high) / 2 for row in table]
    axes.bar(middles, [row.num_images for row in table], 0.9 / BINS, color=color, edgecolor="none", linewidth=0)
    axes.set_ylim(0, 1.05 * max(1, *(row.num_images for row in table)))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    _in_percent(axes.xaxis)
    axes.set_xlim(0, 1)


def _in_percent(axis: Axis) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    axis.set_major_locator(FixedLocator([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
