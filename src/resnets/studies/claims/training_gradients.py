"""`training-gradients`: the gradient of the first layer during the first steps of a training (He et al. 2015, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from resnets.models.resnet import ResNet
from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.claims.gradients import gradient_norms
from resnets.studies.measurements import edit_blocks, short_training
from resnets.studies.measurements.new_networks import PLAIN, SHORTCUTS, network
from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import SEED, Control, Measurement, Setup, Study, mean_and_range
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REMOVED = "residual, shortcuts removed"
SETTING, LR, GRADIENT_IMAGES = "batch norm, He", 0.1, 64  # the first two are the paper's
STEPS = (0, 1, 5, 20, 100, 300, 1000)
FIRST_COUNTED = 5  # before it the gradient is that of the initialization
Values = dict[tuple[int, str, int], float]  # by seed, kind and depth


def measure(setup: Setup) -> Measurement:
    """The gradients of all depths, with and without shortcuts, at the steps STEPS."""
    assert setup.images is not None
    images, labels = setup.images.stacked(), setup.images.labels
    depths = sorted(depth for key, depth in setup.numbers.items() if key.startswith("depth"))
    cases = [(seed, kind, depth) for seed in setup.seeds for kind in (PLAIN, SHORTCUTS) for depth in depths]
    rows: list[dict[str, Any]] = []
    # log10 of the ratio before the first step; of the ratio and of the first layer's norm, mean of the steps that count.
    start: Values = {}
    ratio: Values = {}
    first_norm: Values = {}
    for case in progress_bar(cases, description="training-gradients", unit="trainings"):
        found = ratios(*case, setup, images, labels)
        seed, kind, depth = case
        rows += [
            {"seed": seed, "kind": kind, "depth": depth, "step": step, "first": first, "last": last}
            for step, (first, last) in found.items()
        ]
        counted = np.log10([norms for step, norms in found.items() if step >= FIRST_COUNTED])
        start[case] = float(np.log10(found[0][0] / found[0][1]))
        ratio[case] = float((counted[:, 0] - counted[:, 1]).mean())
        first_norm[case] = float(counted[:, 0].mean())

    def changes(values: Values, kind: str, depth: int) -> np.ndarray:
        """By seed, from the shallowest network to this one."""
        return np.array([values[seed, kind, depth] - values[seed, kind, depths[0]] for seed in setup.seeds])

    effects, notes = {}, []
    for depth in depths[1:]:
        plain, with_shortcuts = (changes(ratio, kind, depth) for kind in (PLAIN, SHORTCUTS))
        effects[f"plain, {depth} layers"] = plain
        effects[f"plain minus with shortcuts, {depth} layers"] = plain - with_shortcuts
        notes += [
            f"{depth} layers, with shortcuts: {mean_and_range(with_shortcuts)}",
            f"{depth} layers, plain, before the first step: {mean_and_range(changes(start, PLAIN, depth))}",
            f"{depth} layers, plain, the norm of the first layer alone: {mean_and_range(changes(first_norm, PLAIN, depth))}",
        ]
    return Measurement(rows, effects, _controls(setup, images, labels, depths[-1], rows), notes=notes)


def build(kind: str, depth: int, num_classes: int, seed: int) -> ResNet:
    """A network in fp32; `REMOVED` is that with shortcuts without them."""
    net = network(PLAIN if kind == PLAIN else SHORTCUTS, depth, SETTING, num_classes, seed).float()
    if kind == REMOVED:
        edit_blocks.remove_shortcuts(net)
    return net


def _controls(
    setup: Setup, images: Tensor, labels: Tensor, depth: int, rows: Sequence[Mapping[str, Any]]
) -> list[Control]:
    """Whether the deepest networks of the first seed differ by their shortcuts, and by nothing else."""
    assert setup.images is not None
    seed, num_classes = setup.seeds[0], len(setup.images.class_names)
    own = [row for row in rows if (row["seed"], row["kind"], row["depth"]) == (seed, PLAIN, depth)]
    plain = {row["step"]: (row["first"], row["last"]) for row in own}
    removed = ratios(seed, REMOVED, depth, setup, images, labels)
    count = sum(removed[step] == plain[step] for step in plain)
    nets = build(PLAIN, depth, num_classes, seed), build(SHORTCUTS, depth, num_classes, seed)
    return [
        pass_on_control("plain, and with shortcuts", [nets]),
        Control("shortcuts removed", f"equal to plain at {count} of {len(plain)} steps", count == len(plain)),
    ]


def ratios(
    seed: int, kind: str, depth: int, setup: Setup, images: Tensor, labels: Tensor
) -> dict[int, tuple[float, float]]:
    """By step, the norms of the gradients of the first and the last 3x3 layer, for the mean loss of the first images."""
    assert setup.images is not None
    net = build(kind, depth, len(setup.images.class_names), seed)
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
    claim="In a training the gradient of the first layer vanishes with the depth of a plain network, and less with shortcuts.",
    paper="an explanation of many tutorials; He et al. 2015, section 4.1",
    published='with batch norm "unlikely to be caused by vanishing gradients": "healthy norms"; no numbers',
    statistic="log10 of the gradient of the first layer / last, mean from step 5 on, minus that of the shallowest network; and "
    "this of the plain networks minus this with shortcuts",
    unit=SEED,
    rule=Rule("less", 0.0, 0.5, least_count=3),
    control="without its shortcuts a residual network has the plain one's gradients; with them its blocks pass on their input",
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
