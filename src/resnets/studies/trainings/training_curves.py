"""The rows of trainings as curves over the steps, and their figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.report.figures import canvas
from resnets.studies.study import Setup
from resnets.studies.trainings.training import EPOCH_ERROR, QUANTITIES, RUNNING_ERROR, RUNNING_LOSS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
COLORS = (canvas.TRAINING, canvas.VALIDATION, "#009988", "#CC3311", "#33BBEE", "#EE3377")  # Paul Tol's "vibrant"


def rows_of(setup: Setup, networks: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of all complete seeds.

    A training has the name that this study gives it: its rows may come from a study that calls the same network otherwise.
    """
    return [
        {"network": name, "seed": seed, **{column: row[column] for column in ("step", *QUANTITIES)}}
        for seed in setup.seeds
        for name in networks
        for row in setup.trained[name, seed].rows
    ]


def table(rows: Rows, network: str, quantity: str) -> tuple[list[int], np.ndarray]:
    """The steps at which all seeds have the quantity, and its values, float64 (seeds, steps)."""
    own = {
        (row["seed"], row["step"]): row[quantity]
        for row in rows
        if row["network"] == network and row[quantity] is not None
    }
    seeds = sorted({seed for seed, _ in own})
    steps = sorted({step for _, step in own if all((seed, step) in own for seed in seeds)})
    return steps, np.array([[own[seed, step] for step in steps] for seed in seeds]).reshape(len(seeds), len(steps))


def draw_errors(axes: Axes, rows: Rows, networks: Sequence[str]) -> None:
    """Errors as in the papers of He et al.: of varied training images dashed, of the test split bold; bands over the seeds."""
    for network, color in zip(networks, COLORS, strict=False):
        for quantity, style, width in ((RUNNING_ERROR, "--", 1.0), (EPOCH_ERROR, "-", 2.5)):
            label = network if quantity == EPOCH_ERROR else None
            _draw_mean(axes, table(rows, network, quantity), style, color=color, linewidth=width, label=label)
    _finish(axes, "error in % (training dashed)")


def draw_losses(axes: Axes, rows: Rows, networks: Sequence[str]) -> None:
    """The mean cross-entropy of the training batches; bands over the seeds."""
    for network, color in zip(networks, COLORS, strict=False):
        _draw_mean(axes, table(rows, network, RUNNING_LOSS), "-", color=color, linewidth=1.7, label=network)
    _finish(axes, "training cross-entropy")


def draw_difference(axes: Axes, curves: Mapping[str, tuple[Sequence[int], np.ndarray]], title: str) -> None:
    """The mean of a difference, (steps, values (seeds, steps)), with the range of its seeds."""
    for color, (label, (steps, values)) in zip(COLORS, curves.items(), strict=False):
        _draw_mean(axes, (list(steps), values), "-", color=color, label=label)
    axes.axhline(0, color=canvas.TEXT, linewidth=1)
    _finish(axes, title)


def _draw_mean(axes: Axes, curve: tuple[list[int], np.ndarray], style: str, **line: Any) -> None:
    steps, values = curve
    if steps:
        axes.plot(steps, values.mean(axis=0), style, **line)
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line["color"], alpha=0.2, linewidth=0)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, color=canvas.MUTED, fontweight="normal")
    axes.set_xlabel("step")
    canvas.legend(axes)
