"""Training curves (`results.png`): the loss, the metrics of the task and the learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resnets.report.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 1600
_MAX_EPOCHS_WITH_DOTS = 40
_TITLE_PAD = 27  # points; the legend is below the title, whose length is not known
_LOG_FROM_RATIO = 30.0  # values that span more than this are drawn on a logarithmic scale

Row = Mapping[str, Any]


class Panel(NamedTuple):
    """The plot of `train/column` and `val/column`, multiplied by `factor`."""

    column: str
    title: str
    factor: float = 1.0


def find_panels(rows: Sequence[Row]) -> list[Panel]:
    """A panel for every column `train/X` or `val/X` with a value, the loss first, else in the order of the columns."""
    keys = [key for row in rows for key in row if key.startswith(("train/", "val/")) and _number(row, key) is not None]
    names = dict.fromkeys(key.partition("/")[2] for key in keys)
    return [Panel(name, name) for name in sorted(names, key=lambda name: name != "loss")]


def draw(
    rows: Sequence[Row],
    out: Path,
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
        best_epoch: is marked by a dashed line.
    """
    panels = find_panels(rows) if panels is None else panels
    columns = 1 if len(panels) == 1 else 2
    num_rows = math.ceil(len(panels) / columns)
    epochs = _values(rows, "epoch")
    with canvas.figure(out, WIDTH, 300 + 600 * num_rows, heading) as page:
        grid = page.add_gridspec(num_rows + 1, columns, height_ratios=[1.0] * num_rows + [0.3])
        for k, panel in enumerate(panels):
            axes = page.add_subplot(grid[k // columns, k % columns])
            axes.set_title(panel.title, pad=_TITLE_PAD)
            train, val = (panel.factor * _values(rows, f"{split}/{panel.column}") for split in ("train", "val"))
            lines = {"training": (train, canvas.TRAINING), "validation": (val, canvas.VALIDATION)}
            _draw_lines(
                axes, epochs, lines, from_zero=panel.column.endswith("loss") or panel.column.startswith("loss_")
            )
        axes = page.add_subplot(grid[-1, :], xlabel="epoch")
        axes.set_title("Learning rate", pad=_TITLE_PAD)
        _draw_lines(axes, epochs, {"learning rate": (_values(rows, "lr"), canvas.MUTED)}, from_zero=True)
        if best_epoch is not None:
            for axes in page.axes:
                axes.axvline(best_epoch, color=canvas.TEXT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    return out


def _number(row: Row, key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _values(rows: Sequence[Row], key: str) -> np.ndarray:
    """float64 (epochs,), NaN where unknown."""
    numbers = (_number(row, key) for row in rows)
    return np.array([math.nan if number is None else number for number in numbers], dtype=float)


def _draw_lines(axes: Axes, epochs: np.ndarray, lines: Mapping[str, tuple[np.ndarray, str]], from_zero: bool) -> None:
    """Draw lines over the epochs, with their names and last values above the axes.

    Args:
        from_zero: the scale begins at 0, or is logarithmic where the values span a wide range.
    """
    from matplotlib.ticker import MaxNLocator

    for name, (values, color) in lines.items():
        known = values[np.isfinite(values)]
        if len(known):
            marker = "o" if len(epochs) <= _MAX_EPOCHS_WITH_DOTS else ""
            axes.plot(epochs, values, color=color, marker=marker, markersize=4, label=f"{name}, last {known[-1]:.3g}")
    values = np.concatenate([values[np.isfinite(values)] for values, _ in lines.values()])
    if from_zero and len(values) and 0 < _LOG_FROM_RATIO * values.min() < values.max():
        canvas.log_scale(axes.yaxis)
    elif from_zero and len(values):
        axes.set_ylim(min(0.0, 1.05 * values.min()), max(0.0, 1.05 * values.max()) or 1.0)
    canvas.legend(axes)
    first, last = (epochs.min(), epochs.max()) if len(epochs) else (1, 1)
    space = max(0.5, 0.02 * (last - first))
    axes.set_xlim(first - space, last + space)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
