"""`shattering`: how the gradient of a new network changes along a line of inputs (Balduzzi et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from resnets.report.figures import canvas
from resnets.studies.measurements.dense_networks import (
    LINEAR,
    PLAIN,
    RECTIFIED,
    REMOVED,
    RESIDUAL,
    SHALLOW,
    Layer,
    network,
)  # fmt: skip
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS, LIMIT = 256, 2.0  # of the line
LAGS = 16
LINEAR_FLOOR, REMOVED_LIMIT = 0.95, 0.1  # of the controls


def gradient_along_line(net: nn.Module) -> np.ndarray:
    """float64 (POINTS,): the derivative of the output at points from -LIMIT to LIMIT."""
    points = torch.linspace(-LIMIT, LIMIT, POINTS, dtype=torch.float64)[:, None].requires_grad_()
    (gradient,) = torch.autograd.grad(net(points).sum(), points)
    return gradient[:, 0].numpy()


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """float64 (LAGS,): that of the values less their mean; 1 for a constant."""
    centered = values - values.mean()
    if np.abs(centered).max() <= 1e-9 * np.abs(values).max():
        return np.ones(LAGS)
    sums = [float(centered[: len(centered) - lag] @ centered[lag:]) for lag in range(LAGS)]
    return np.array(sums) / sums[0]


def measure(setup: Setup) -> Measurement:
    """The autocorrelations of all kinds of networks."""
    depth, width = setup.numbers["depth"], setup.numbers["width"]
    rows: list[dict[str, Any]] = []
    first: dict[str, list[float]] = {}
    for seed in setup.seeds:
        for kind in (SHALLOW, PLAIN, RESIDUAL, REMOVED, RECTIFIED, LINEAR):
            correlations = autocorrelation(gradient_along_line(network(kind, depth, width, seed)))
            first.setdefault(kind, []).append(float(correlations[1]))
            rows += [
                {"kind": kind, "seed": seed, "lag": lag, "autocorrelation": float(r)}
                for lag, r in enumerate(correlations)
            ]
    lag1 = {kind: np.array(values) for kind, values in first.items()}
    left = float((lag1[REMOVED] - lag1[PLAIN]).mean())
    lowest = float(lag1[LINEAR].min())
    nets = {kind: network(kind, depth, width, setup.seeds[0]) for kind in (PLAIN, RESIDUAL)}
    passing = {kind: [each.passes_on() for each in net if isinstance(each, Layer)] for kind, net in nets.items()}
    words = f"{sum(passing[PLAIN])} of {len(passing[PLAIN])} plain, {sum(passing[RESIDUAL])} of {len(passing[RESIDUAL])} residual"
    controls = [
        Control("layers that pass on their input", words, not any(passing[PLAIN]) and all(passing[RESIDUAL])),
        Control("shortcuts removed from the residual networks", f"difference of {left:.3g}", abs(left) < REMOVED_LIMIT),
        Control("a network that looks linear, without norm", f"at least {lowest:.3f}", lowest >= LINEAR_FLOOR),
    ]
    plain, residual, other = (f"{lag1[kind].mean():.2f}" for kind in (PLAIN, RESIDUAL, RECTIFIED))
    note = f"mean at lag 1: plain {plain}; residual {residual}; with ReLU after the first layer, no norm before the last {other}"
    effects = {f"{depth} layers with batch norm": lag1[RESIDUAL] - lag1[PLAIN]}
    return Measurement(rows, effects, controls, notes=[note])


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The autocorrelation by lag: mean and range of the seeds."""
    axes = page.subplots()
    for number, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        lags = range(LAGS)
        values = [[row["autocorrelation"] for row in rows if row["kind"] == kind and row["lag"] == lag] for lag in lags]
        axes.plot(lags, [np.mean(each) for each in values], color=f"C{number}", label=kind)
        axes.fill_between(
            lags, [min(e) for e in values], [max(e) for e in values], color=f"C{number}", alpha=0.15, lw=0
        )
    axes.set_xlabel("lag in points of the line")
    axes.set_title("autocorrelation of the gradient", color=canvas.MUTED, fontweight="normal")
    canvas.legend(axes)


STUDY = Study(
    name="shattering",
    claim="With batch norm the gradients of a deep network at neighboring inputs are more similar with shortcuts than without.",
    paper="Balduzzi et al. 2017, figures 1 and 2",
    published="plain: correlations fall as 1/2^L; residual with batch norm and beta = 0.1: nearly those of one layer",
    statistic="autocorrelation of the gradient at lag 1: residual with beta = 0.1 minus plain, both with batch norm",
    unit=SEED,
    rule=Rule("greater", 0.0, 0.1, least_count=3),
    control="without its shortcuts the residual network is like the plain one, with them its layers pass on their input; a "
    "linear function has a correlation of 1",
    protocols={
        "paper": {"depth": 50, "width": 200},
        "short": {"depth": 50, "width": 200},
        "minutes": {"depth": 50, "width": 200},
    },
    cost={"paper": "3 s", "short": "3 s", "minutes": "3 s"},
    data="",
    measure=measure,
    draw=draw,
)
