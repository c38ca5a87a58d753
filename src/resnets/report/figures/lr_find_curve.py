"""The learning-rate finder's plot: loss against a growing learning rate, with the suggestion marked (Smith 2017)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnets.report.figures import canvas

WIDTH, HEIGHT = 1200, 750
_SMOOTHING = 0.9  # weight of earlier losses in the running mean
_HEADROOM = 0.8  # height of the plot above the first loss, in falls of the loss; a diverging loss leaves the plot


def smoothed(losses: Sequence[float] | np.ndarray) -> np.ndarray:
    """The running mean of the losses, corrected for its start at zero (Kingma and Ba 2015, section 3)."""
    mean, out = 0.0, []
    for step, loss in enumerate(losses, start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        out.append(mean / (1 - _SMOOTHING**step))
    return np.array(out)


def draw(rates: Sequence[float], losses: Sequence[float], suggestion: float | None, out: Path) -> Path:
    """Draw the loss of each step over its learning rate.

    Args:
        rates: the growing learning rates, above 0.
        losses: the loss at each of them, same length.
        suggestion: the learning rate to mark, if the curve has one.
        out: the image file, of 1200 x 750 pixels.
    """
    known = [(rate, loss) for rate, loss in zip(rates, losses, strict=True) if rate > 0 and math.isfinite(loss)]
    heading = "No suggestion: the loss does not fall"
    if suggestion is not None:
        heading = f"Suggested learning rate: {suggestion:.2g}"
    with canvas.figure(out, WIDTH, HEIGHT, heading) as page:
        axes = page.subplots()
        axes.set(title="Loss", xlabel="learning rate")
        if not known:
            return out
        x, y = np.array(known).T
        mean = smoothed(y)
        axes.plot(x, y, color=canvas.TRAINING, alpha=0.35, label="each step")
        axes.plot(x, mean, color=canvas.TRAINING, linewidth=2.5, label="running mean")
        canvas.log_scale(axes.xaxis)
        fall = max(mean[0] - mean.min(), 0.1 * abs(mean[0]), 1e-6)
        axes.set_ylim(mean.min() - 0.15 * fall, mean[0] + _HEADROOM * fall)
        if suggestion is not None:
            axes.axvline(suggestion, color=canvas.VALIDATION, linestyle=(0, (4, 3)), zorder=1)
        canvas.legend(axes)
    return out
