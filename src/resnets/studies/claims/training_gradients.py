"""`training-gradients`: the gradient of the first layer during the first steps of a training (He et al. 2015, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies import short_training
from resnets.studies.claims.gradients import LIMIT, PLAIN, SHORTCUTS, gradient_norms, network
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTING, LR = "batch norm, He", 0.1  # the paper's
STEPS = (0, 1, 5, 20, 100, 300, 1000)
FIRST_COUNTED = 5  # before it the gradient is that of the initialization
GRADIENT_IMAGES = 64


def measure(setup: Setup) -> Measurement:
    """The gradients of all depths, with and without shortcuts, at the steps STEPS."""
    assert setup.images is not None
    images, labels = setup.images.stacked(), setup.images.labels
    depths = sorted(depth for key, depth in setup.numbers.items() if key.startswith("depth"))
    cases = [(seed, kind, depth) for seed in setup.seeds for kind in (PLAIN, SHORTCUTS) for depth in depths]
    rows: list[dict[str, Any]] = []
    ratio: dict[tuple[int, str, int], float] = {}
    for case in progress_bar(cases, description="training-gradients", unit="trainings"):
        found = ratios(*case, setup, images, labels)
        seed, kind, depth = case
        rows += [
            {"seed": seed, "kind": kind, "depth": depth, "step": step, "first": first, "last": last}
            for step, (first, last) in found.items()
        ]
        ratio[case] = float(np.mean([np.log10(f / last) for step, (f, last) in found.items() if step >= FIRST_COUNTED]))

    def changes(kind: str, depth: int) -> np.ndarray:
        """By seed, from the shallowest network to this one."""
        return np.array([ratio[seed, kind, depth] - ratio[seed, kind, depths[0]] for seed in setup.seeds])

    effects = {f"plain, {depth} layers": changes(PLAIN, depth) for depth in depths[1:]}
    lowest = min(float(changes(SHORTCUTS, depth).min()) for depth in depths[1:])
    control = Control("shortcuts added to the plain networks", f"change of {lowest:.3g} at least", lowest > -LIMIT)
    notes = [
        f"with shortcuts, {depth} layers: {values.mean():.3g} in the mean, from {values.min():.3g} to {values.max():.3g}"
        for depth, values in ((depth, changes(SHORTCUTS, depth)) for depth in depths[1:])
        if len(values)
    ]
    return Measurement(rows, effects, [control], notes=notes)


def ratios(
    seed: int, kind: str, depth: int, setup: Setup, images: Tensor, labels: Tensor
) -> dict[int, tuple[float, float]]:
    """By step, the norms of the gradients of the first and the last 3x3 layer, for the mean loss of the first images."""
    assert setup.images is not None
    net = network(kind, depth, SETTING, len(setup.images.class_names), seed).float()
    few = images[:GRADIENT_IMAGES], labels[:GRADIENT_IMAGES]
    steps = [step for step in STEPS if step <= setup.numbers["steps"]]
    trained = short_training.train(net, images, labels, steps=steps[-1], batch=setup.numbers["batch"], lr=LR, seed=seed,
                                   stop_at=steps)  # fmt: skip
    found = {}
    for step in chain([0], trained):  # lazily: the network changes between two of them
        norms = gradient_norms(net.train(), *few)
        found[step] = float(norms[0]), float(norms[-1])
    return found


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The ratio of the first to the last layer by step: the median of the seeds, and their range."""
    axes = page.subplots()
    for kind, color in ((PLAIN, canvas.TRAINING), (SHORTCUTS, canvas.VALIDATION)):
        for number, depth in enumerate(sorted({row["depth"] for row in rows})):
            own = [row for row in rows if (row["kind"], row["depth"]) == (kind, depth)]
            steps = sorted({row["step"] for row in own})
            values = [[np.log10(row["first"] / row["last"]) for row in own if row["step"] == step] for step in steps]
            style, places = ("-", "--", ":")[number % 3], range(len(steps))
            axes.plot(places, [np.median(each) for each in values], style, color=color, label=f"{kind}-{depth}")
            axes.fill_between(places, [min(e) for e in values], [max(e) for e in values], color=color, alpha=0.1, lw=0)
            axes.set_xticks(places, [str(step) for step in steps])
    axes.set_xlabel("step")
    axes.set_title("log10 of the gradient's norm, first layer / last", color=canvas.MUTED, fontweight="normal")
    canvas.legend(axes)


STUDY = Study(
    name="training-gradients",
    claim="In a training the gradient of the first layers of a plain network with batch norm vanishes with its depth.",
    paper="an explanation of many tutorials; He et al. 2015, section 4.1",
    published='with batch norm "unlikely to be caused by vanishing gradients": "healthy norms"; no numbers',
    statistic="log10 of the gradient of the first layer / last, mean from step 5 on, minus that of the shallowest network",
    unit=SEED,
    rule=Rule("less", 0.0, 0.5, least_count=3),
    control="shortcuts added to the same plain networks: the ratio falls by less than a factor of 50",
    protocols={
        "paper": {"images": 10_000, "batch": 128, "steps": 1000, "depth1": 20, "depth2": 56, "depth3": 110},
        "short": {"images": 2_000, "batch": 64, "steps": 300, "depth1": 20, "depth2": 56},
        "minutes": {"images": 200, "batch": 16, "steps": 20, "depth1": 8, "depth2": 44},
    },
    cost={"paper": "6 h", "short": "40 min", "minutes": "40 s"},
    data="digits",
    measure=measure,
    draw=draw,
)
