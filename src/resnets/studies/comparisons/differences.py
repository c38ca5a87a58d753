"""Paired differences of the errors of trained networks, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.report.figures import canvas
from resnets.studies import verdict
from resnets.studies.study import NOT_LEARNED, Setup, not_learned
from resnets.studies.trainings import training_curves
from resnets.studies.trainings.training import TEST_ERROR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCE_NOT_LEARNED = NOT_LEARNED.replace("a network", "a network that others are compared with")


def paired(setup: Setup, network: str, other: str, quantity: str) -> np.ndarray:
    """The last value of `network` minus that of `other`, float64 (seeds,); both saw the same batches."""
    return np.array(
        [
            setup.trained[network, seed].last(quantity) - setup.trained[other, seed].last(quantity)
            for seed in setup.seeds
        ]
    )


def reference_not_learned(setup: Setup, networks: Sequence[str]) -> str:
    """The obstacle that networks are with which others are compared, by their mean test error; "" if they have learned."""
    for name in networks if setup.seeds else ():
        error = float(np.mean([setup.trained[name, seed].last(TEST_ERROR) for seed in setup.seeds]))
        if obstacle := not_learned(error, setup.num_classes):
            return f"{name}: {obstacle}"
    return ""


def draw_forest(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    pairs: Mapping[str, tuple[str, str]],
    published: Mapping[str, float | None],
) -> None:
    """The differences in test error of pairs of networks, by label: seeds, mean, and the interval of the verdict.

    `published` has the differences of the paper, which are drawn dotted; a None there is the paper's "fail".
    """
    for height, (label, (network, other)) in enumerate(pairs.items()):
        values = _differences(rows, network, other)
        if not len(values):
            continue
        if len(values) in verdict.LOOKS:
            interval = verdict.mean_interval(values, verdict.alpha_of(len(values)) / len(pairs))
            axes.plot([interval.low, interval.high], [height, height], color=canvas.TRAINING, linewidth=2)
        axes.plot(values, [height] * len(values), "o", color=canvas.TRAINING, alpha=0.4)
        axes.plot([np.mean(values)], [height], "D", color=canvas.TRAINING, markersize=9)
        if label in published:
            paper = published[label]
            if paper is None:
                axes.annotate(
                    "paper: fail", (1, height), xycoords=("axes fraction", "data"), xytext=(0, 8),
                    textcoords="offset points", ha="right",
                )  # fmt: skip
            else:
                axes.plot([paper, paper], [height - 0.35, height + 0.35], ":", color=canvas.VALIDATION, linewidth=2)
    axes.axvline(0, color=canvas.TEXT, linewidth=1)
    axes.set_yticks(range(len(pairs)), list(pairs))
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.plot([], [], "D", color=canvas.TRAINING, label="mean, seeds, interval of the verdict")
    axes.plot([], [], ":", color=canvas.VALIDATION, linewidth=2, label="paper, its own protocol")
    axes.set_xlabel("points")
    axes.set_title("difference in test error", color=canvas.MUTED, fontweight="normal")
    canvas.legend(axes)


def _differences(rows: Sequence[Mapping[str, Any]], network: str, other: str) -> np.ndarray:
    """By seed, float64 (seeds,)."""
    (steps, one), (_, two) = (training_curves.table(rows, name, TEST_ERROR) for name in (network, other))
    return one[:, -1] - two[:, -1] if steps and one.shape == two.shape else np.empty(0)
