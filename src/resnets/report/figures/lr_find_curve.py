"""The learning-rate finder's plot: loss against a growing learning rate, with the suggestion marked (Smith 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnets.report.figures import canvas
from resnets.report.figures.canvas import Canvas, Frame

WIDTH, HEIGHT = 1200, 750
_FRAME = Frame(100, 120, 1050, 520)
_SMOOTHING = 0.9  # weight of earlier losses in the running mean
_HEADROOM = 1.6  # height of the plot above the first loss, in falls of the loss; a diverging loss leaves the plot


def smoothed(losses: Sequence[float] | np.ndarray) -> np.ndarray:
    """The running mean of the losses, corrected for its start at zero (Kingma and Ba 2015, section 3)."""
    mean, out = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        out.append(mean / (1 - _SMOOTHING**step))
    return np.array(out)


def draw(rates: Sequence[float], losses: Sequence[float], suggestion: float | None, out: str | Path) -> Path:
    """Draw the loss of each step over its learning rate.

    Args:
        rates: the growing learning rates, above 0.
        losses: the loss at each of them, same length.
        suggestion: the learning rate to mark, if the curve has one.
        out: the image file, of 1200 x 750 pixels.
    """
    page = Canvas(WIDTH, HEIGHT)
    page.text(_FRAME.left, 40, _headline(suggestion), size=24, bold=True)
    page.text(_FRAME.left, 90, "Loss", size=19, bold=True)
    page.text(_FRAME.left + _FRAME.width / 2, HEIGHT - 40, "learning rate", size=18, color=canvas.MUTED, align="center")
    page.text(
        _FRAME.left + _FRAME.width,
        90,
        "pale: each step, dark: running mean",
        size=17,
        color=canvas.MUTED,
        align="right",
    )
    axes = page.axes(_FRAME)
    known = [(rate, loss) for rate, loss in zip(rates, losses, strict=True) if rate > 0 and math.isfinite(loss)]
    if not known:
        page.text(
            _FRAME.left + _FRAME.width / 2,
            _FRAME.top + 240,
            "not measured",
            size=18,
            color=canvas.MUTED,
            align="center",
        )
        return page.save(out)
    x, y = np.array([rate for rate, _ in known]), np.array([loss for _, loss in known])
    mean = smoothed(y)
    axes.plot(x, y, color=canvas.TRAINING, alpha=0.35, linewidth=canvas.points(2), linestyle="-", marker="None")
    axes.plot(x, mean, color=canvas.TRAINING, linewidth=canvas.points(3.6), linestyle="-", marker="None")
    _scales(axes, x, mean)
    if suggestion is not None:
        axes.axvline(
            suggestion,
            color=canvas.VALIDATION,
            linewidth=canvas.points(2),
            linestyle=(0, (4, 3)),
            marker="None",
            zorder=1,
        )
        height = float(np.interp(math.log(suggestion), np.log(x), mean))
        axes.plot(
            [suggestion], [height], linestyle="None", marker="o", markersize=canvas.points(16), markerfacecolor="none",
            markeredgecolor=canvas.VALIDATION, markeredgewidth=canvas.points(3.5), zorder=5,
        )  # fmt: skip
    return page.save(out)


def _headline(suggestion: float | None) -> str:
    if suggestion is None:
        return "No suggestion: the loss does not fall"
    return f"Suggested learning rate: {suggestion:.2g}"


def _scales(axes, rates: np.ndarray, mean: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(rates.min() / 1.1, max(rates.max(), rates.min() * 1.01) * 1.1)
    axes.xaxis.set_major_locator(LogLocator())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    low, start = float(mean.min()), float(mean[0])
    fall = max(start - low, 0.1 * abs(start), 1e-6)
    axes.set_ylim(low - 0.15 * fall, start + _HEADROOM * 0.5 * fall)
