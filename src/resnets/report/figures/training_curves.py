"""Training curves (`results.png`): loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnets.report.figures import canvas
from resnets.report.figures.canvas import Canvas, Frame
from resnets.tasks import epoch_selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 1600, 1000
_LOSS = Frame(100, 135, 650, 480)
_ACCURACY = Frame(900, 135, 650, 480)
_RATE = Frame(100, 765, 1450, 130)
_MAX_EPOCHS_WITH_DOTS = 40
_LOG_FROM_RATIO = 30.0  # losses that span more than this are drawn on a logarithmic scale
_NAME_SIZE = 18
_MAX_STEPS = 8  # different values of a stepwise learning rate, which is drawn on a logarithmic scale

Row = Mapping[str, float | None]


@dataclass(frozen=True)
class _Line:
    name: str
    color: str
    values: np.ndarray  # (epochs,), NaN where unknown

    @property
    def last(self) -> float | None:
        known = self.values[np.isfinite(self.values)]
        return float(known[-1]) if known.size else None


def best(rows: Sequence[Row]) -> Row | None:
    """The row of the best epoch by the rule of `epoch_selection`; an unknown loss counts as infinite."""
    top, top_score = None, epoch_selection.WORST_SCORE
    for row in rows:
        accuracy, loss = _number(row, "val/accuracy_top1"), _number(row, "val/loss")
        if accuracy is None:
            continue
        score = epoch_selection.score(accuracy, math.inf if loss is None else loss)
        if epoch_selection.is_better(score, top_score):
            top, top_score = row, score
    return top


def draw(rows: Sequence[Row], out: str | Path) -> Path:
    """Draw the rows of `metrics.jsonl`, with the best epoch marked; a value that is null, NaN or absent leaves a gap.

    Args:
        rows: one mapping per epoch with the keys of `metrics.jsonl`; accuracies are 0 to 1.
        out: the image file, of 1600 x 1000 pixels.
    """
    page = Canvas(WIDTH, HEIGHT)
    top = best(rows)
    page.text(_LOSS.left, 40, _headline(rows, top), size=26, bold=True)
    epochs = _values(rows, "epoch")
    loss = _panel(page, _LOSS, "Loss", epochs, _pair(rows, "loss"), lambda value: f"{value:.3g}")
    accuracy = _panel(
        page, _ACCURACY, "Accuracy", epochs, _pair(rows, "accuracy_top1"), lambda value: f"{100 * value:.1f} %"
    )
    rates = [_Line("learning rate", canvas.MUTED, _values(rows, "lr"))]
    rate = _panel(page, _RATE, "Learning rate", epochs, rates, lambda value: f"{value:.2g}")
    page.text(_RATE.left + _RATE.width / 2, 962, "epoch", size=18, color=canvas.MUTED, align="center")
    _loss_scale(loss)
    _accuracy_scale(accuracy)
    _rate_scale(rate, rates[0].values)
    for axes in (loss, accuracy, rate):
        _epoch_scale(axes, epochs)
    if top is not None:
        _mark(loss, top, "val/loss")
        _mark(accuracy, top, "val/accuracy_top1")
        _mark(rate, top, None)
    return page.save(out)


def _headline(rows: Sequence[Row], top: Row | None) -> str:
    if not rows:
        return "No epoch has been finished yet"
    if top is None:
        return f"{len(rows)} epoch{'s' * (len(rows) > 1)}, no validation images to measure on"
    percent = 100 * float(top["val/accuracy_top1"] or 0)
    return f"Best epoch: {int(top['epoch'] or 0)} of {len(rows)}, with {percent:.1f} % of the validation images right"


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _values(rows: Sequence[Row], key: str) -> np.ndarray:
    numbers = (_number(row, key) for row in rows)
    return np.array([math.nan if number is None else number for number in numbers], dtype=float)


def _pair(rows: Sequence[Row], key: str) -> list[_Line]:
    return [
        _Line("training", canvas.TRAINING, _values(rows, f"train/{key}")),
        _Line("validation", canvas.VALIDATION, _values(rows, f"val/{key}")),
    ]


def _panel(
    page: Canvas, frame: Frame, title: str, epochs: np.ndarray, lines: Sequence[_Line], words: Callable[[float], str]
) -> Axes:
    """Draw lines over the epochs; their names and last values are above the frame in their colors."""
    axes = page.axes(frame)
    page.text(frame.left, frame.top - 30, title, size=21, bold=True)
    known = [line for line in lines if line.last is not None]
    for line in known:
        axes.plot(
            epochs, line.values, color=line.color, linewidth=canvas.points(3), linestyle="-",
            marker="o" if len(epochs) <= _MAX_EPOCHS_WITH_DOTS else "None", markersize=canvas.points(7),
            markerfacecolor=line.color, markeredgecolor=line.color,
        )  # fmt: skip
    right = frame.left + frame.width
    for line in reversed(known):
        name = f"{line.name}, last {words(line.last or 0.0)}" if len(lines) > 1 else f"last {words(line.last or 0.0)}"
        page.text(right, frame.top - 30, name, size=_NAME_SIZE, color=line.color, align="right", bold=len(lines) > 1)
        right -= canvas.text_width(name, _NAME_SIZE, bold=True) + 28
    if not known:
        middle = frame.top + frame.height / 2
        page.text(frame.left + frame.width / 2, middle, "not measured", size=18, color=canvas.MUTED, align="center")
    return axes


def _drawn(axes: Axes) -> np.ndarray:
    values = np.concatenate([np.zeros(0), *(np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines())])
    return values[np.isfinite(values)]


def _plain_numbers(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _loss_scale(axes: Axes) -> None:
    values = _drawn(axes)
    if values.size and values.min() > 0 and values.max() / values.min() > _LOG_FROM_RATIO:
        _logarithmic(axes)
    elif values.size:
        axes.set_ylim(bottom=min(0.0, float(values.min())))
        _plain_numbers(axes)


def _accuracy_scale(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter

    values = _drawn(axes)
    if values.size:
        low, high = float(values.min()), float(values.max())
        space = max(0.01, 0.06 * (high - low))
        axes.set_ylim(low - space, min(high + space, 1.0 + 0.2 * space))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))


def _rate_scale(axes: Axes, rates: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    values = rates[np.isfinite(rates)]
    if values.size and values.min() > 0 and len(set(values)) <= _MAX_STEPS and values.max() >= 10 * values.min():
        _logarithmic(axes)
    else:
        if values.size:
            axes.set_ylim(0, 1.1 * float(values.max()) or 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(3))
        _plain_numbers(axes)


def _logarithmic(axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    _plain_numbers(axes)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _epoch_scale(axes: Axes, epochs: np.ndarray) -> None:
    from matplotlib.ticker import FixedLocator, MaxNLocator, StrMethodFormatter

    known = epochs[np.isfinite(epochs)]
    first, last = (float(known.min()), float(known.max())) if known.size else (1.0, 1.0)
    space = max(0.5, 0.02 * (last - first))
    axes.set_xlim(first - space, last + space)
    ticks = [
        tick for tick in MaxNLocator(10, integer=True).tick_values(first, max(last, first + 1)) if first <= tick <= last
    ]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def _mark(axes: Axes, top: Row, key: str | None) -> None:
    """Mark the best epoch by a dashed line, and its value by a ring."""
    epoch, value = float(top["epoch"] or 0), _number(top, key) if key else None
    axes.axvline(
        epoch, color=canvas.MUTED, linewidth=canvas.points(1.4), linestyle=(0, (4, 3)), marker="None", zorder=1
    )
    if value is not None:
        axes.plot(
            [epoch], [value], linestyle="None", marker="o", markersize=canvas.points(15), markerfacecolor="none",
            markeredgecolor=canvas.TEXT, markeredgewidth=canvas.points(2.8), zorder=5, clip_on=False,
        )  # fmt: skip
