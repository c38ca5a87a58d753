"""Training curves (`results.png`): the loss, the metrics of the task and the learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resnets.report.figures import canvas
from resnets.report.number_formats import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 1600
_MAX_EPOCHS_WITH_DOTS = 40
_LOG_FROM_RATIO = 30.0  # values that span more than this are drawn on a logarithmic scale

Row = Mapping[str, Any]


class Panel(NamedTuple):
    """The plot of `train/column` and `val/column`; `is_fraction` shows 0 to 1 as percentages."""

    column: str
    title: str
    is_fraction: bool = False


def find_panels(rows: Sequence[Row]) -> list[Panel]:
    """A panel for every column `train/X` or `val/X` with a value, the loss first, else in the order of the columns."""
    keys = [key for row in rows for key in row if key.startswith(("train/", "val/")) and _number(row, key) is not None]
    names = dict.fromkeys(key.partition("/")[2] for key in keys)
    return [Panel(name, name) for name in sorted(names, key=lambda name: name != "loss")]


def draw(
    rows: Sequence[Row],
    out: str | Path,
    *,
    heading: str = "",
    panels: Sequence[Panel] | None = None,
    best_epoch: float | None = None,
) -> Path:
    """Draw the rows of `metrics.jsonl`; a value that is null, NaN or absent leaves a gap.

    Args:
        rows: one mapping per epoch with the keys of `metrics.jsonl`.
        out: the image file, 1,600 pixels wide.
        heading: a line at the top.
        panels: None for `find_panels`.
        best_epoch: is marked by a dashed line, and its validation values by a ring.
    """
    panels = find_panels(rows) if panels is None else panels
    columns = 1 if len(panels) == 1 else 2
    num_rows = math.ceil(len(panels) / columns)
    epochs = _values(rows, "epoch")
    with canvas.figure(out, WIDTH, 300 + 600 * num_rows) as page:
        canvas.heading(page, heading)
        grid = page.add_gridspec(num_rows + 1, columns, height_ratios=[1.0] * num_rows + [0.3])
        for k, panel in enumerate(panels):
            train, val = (_values(rows, f"{split}/{panel.column}") for split in ("train", "val"))
            axes = page.add_subplot(grid[k // columns, k % columns], title=panel.title)
            words = percent if panel.is_fraction else "{:.3g}".format
            _line(axes, epochs, train, canvas.TRAINING, "training", words)
            _line(axes, epochs, val, canvas.VALIDATION, "validation", words)
            _scale(axes, epochs, [train, val], panel.is_fraction)
            _mark(axes, epochs, val, best_epoch)
        rates = _values(rows, "lr")
        axes = page.add_subplot(grid[-1, :], title="Learning rate", xlabel="epoch")
        _line(axes, epochs, rates, canvas.MUTED, "learning rate", "{:.2g}".format)
        _scale(axes, epochs, [rates], False)
        _mark(axes, epochs, None, best_epoch)
    return Path(out)


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _values(rows: Sequence[Row], key: str) -> np.ndarray:
    """float64 (epochs,), NaN where unknown."""
    numbers = (_number(row, key) for row in rows)
    return np.array([math.nan if number is None else number for number in numbers], dtype=float)


def _line(
    axes: Axes, epochs: np.ndarray, values: np.ndarray, color: str, name: str, words: Callable[[float], str]
) -> None:
    known = values[np.isfinite(values)]
    if len(known):
        marker = "o" if len(epochs) <= _MAX_EPOCHS_WITH_DOTS else ""
        axes.plot(epochs, values, color=color, marker=marker, markersize=4, label=f"{name}, last {words(known[-1])}")


def _scale(axes: Axes, epochs: np.ndarray, lines: Sequence[np.ndarray], is_fraction: bool) -> None:
    """Choose the scales of both axes and write the names of the lines above them."""
    from matplotlib.ticker import MaxNLocator

    values = np.concatenate(lines)
    values = values[np.isfinite(values)]
    if not len(values):
        canvas.not_measured(axes)
    elif is_fraction:
        canvas.percent_scale(axes.yaxis)
    elif values.min() > 0 and values.max() / values.min() > _LOG_FROM_RATIO:
        canvas.log_scale(axes.yaxis)
    else:
        axes.set_ylim(bottom=min(0.0, 1.05 * values.min()))
    canvas.legend(axes)
    first, last = (epochs.min(), epochs.max()) if len(epochs) else (1, 1)
    axes.set_xlim(first - max(0.5, 0.02 * (last - first)), last + max(0.5, 0.02 * (last - first)))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))


def _mark(axes: Axes, epochs: np.ndarray, values: np.ndarray | None, best_epoch: float | None) -> None:
    """Mark the best epoch by a dashed line, and its value by a ring."""
    if best_epoch is None:
        return
    axes.axvline(best_epoch, color=canvas.MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    if values is not None:
        chosen = epochs == best_epoch
        ring: dict[str, Any] = {
            "markersize": 9,
            "markerfacecolor": "none",
            "markeredgecolor": canvas.TEXT,
            "markeredgewidth": 1.6,
        }
        axes.plot(epochs[chosen], values[chosen], "o", clip_on=False, zorder=5, **ring)
