"""The reliability diagram: how often the model is right when it is so and so sure (`reliability.png`).

Predictions are put into bins by their confidence; in a trustworthy model the share of right ones in each bin equals the
confidence (Guo et al., "On Calibration of Modern Neural Networks", 2017). The expected calibration error, ECE, is the
mean distance between the two, weighted by the number of predictions in each bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnets.report.figures import canvas
from resnets.report.figures.canvas import Frame, Sheet
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
    known = predictions.with_labels()
    table = bins(known.confidence, known.correct)
    if known.temperature == 1.0:
        panels = [("As trained", canvas.HELD_OUT, table)]
    else:
        raw = replace(known, temperature=1.0)
        panels = [
            ("Before temperature scaling", canvas.BEFORE, bins(raw.confidence, raw.correct)),
            (f"After temperature scaling (T = {known.temperature:.2f})", canvas.HELD_OUT, table),
        ]
    page = Sheet(_PANEL_WIDTH * len(panels), HEIGHT)
    page.text(_DIAGRAM.left, 40, _headline(panels[-1][2]), size=26, bold=True, room=page.width - 120)
    for place, (name, color, table) in enumerate(panels):
        _panel(page, _PANEL_WIDTH * place, name, color, table)
    return page.save(out)


def _headline(table: Sequence[Bin]) -> str:
    total = sum(row.number for row in table)
    if not total:
        return "No labeled images"
    sure = sum(row.number * row.confidence for row in table if row.number) / total
    right = sum(row.number * row.accuracy for row in table if row.number) / total
    return f"On average {100 * sure:.1f} % sure, and {100 * right:.1f} % right"


def _panel(page: Sheet, shift: float, name: str, color: str, table: Sequence[Bin]) -> None:
    left, right = _DIAGRAM.left + shift, _DIAGRAM.left + shift + _DIAGRAM.width
    page.text(left, 92, name, size=20, bold=True, color=color)
    page.text(right, 92, f"ECE {100 * expected_error(table):.1f} %", size=20, bold=True, color=color, align="right")
    page.text(left, 140, "Share that is right", size=18, bold=True)
    page.text(right, 140, "dashed: as right as it is sure; red: too sure", size=17, color=canvas.QUIET, align="right")
    _diagram(page.axes(_DIAGRAM._replace(left=left)), color, table)
    page.text(left, 726, f"Predictions ({sum(row.number for row in table):,})", size=18, bold=True)
    _histogram(page.axes(_HISTOGRAM._replace(left=left)), color, table)
    page.text(left + _DIAGRAM.width / 2, HEIGHT - 40, "confidence", size=18, color=canvas.QUIET, align="center")


def _diagram(axes: Axes, color: str, table: Sequence[Bin]) -> None:
    """Bars of accuracy with their 95 % intervals; what they lack up to the confidence is red."""
    width = 0.9 / BINS
    for row in table:
        if not row.number:
            continue
        middle = (row.low + row.high) / 2
        axes.bar(middle, row.accuracy, width, color=color, alpha=0.75, edgecolor="none", linewidth=0)
        lacking = max(0.0, row.confidence - row.accuracy)
        axes.bar(
            middle, lacking, width, bottom=row.accuracy, color=canvas.WRONG, alpha=0.3, edgecolor="none", linewidth=0
        )
        span = wilson(round(row.accuracy * row.number), row.number)
        axes.plot([middle, middle], span, color=canvas.INK, linewidth=canvas.points(2), linestyle="-", marker="None")
    axes.plot([0, 1], [0, 1], color=canvas.PAPER, linewidth=canvas.points(5.5), alpha=0.6, linestyle="-", marker="None")
    axes.plot([0, 1], [0, 1], color=canvas.INK, linewidth=canvas.points(2), linestyle=(0, (4, 3)), marker="None")
    axes.set_ylim(0, 1.02)
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis)
    axes.set_xlim(0, 1)


def _histogram(axes: Axes, color: str, table: Sequence[Bin]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    middles = [(row.low + row.high) / 2 for row in table]
    axes.bar(middles, [row.number for row in table], 0.9 / BINS, color=color, edgecolor="none", linewidth=0)
    axes.set_ylim(0, 1.05 * max(1, *(row.number for row in table)))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    _in_percent(axes.xaxis)
    axes.set_xlim(0, 1)


def _in_percent(axis: Axis) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    axis.set_major_locator(FixedLocator([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
