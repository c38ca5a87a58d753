"""`skipping`: whether training makes a block that hurts small, as tutorials say of shortcuts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from resnets.progress import progress_bar
from resnets.report.figures import canvas
from resnets.studies.inputs import StudyNetwork
from resnets.studies.measurements import inserted_blocks, short_training
from resnets.studies.measurements.inserted_blocks import branch_sizes
from resnets.studies.measurements.top1_error import error_percent
from resnets.studies.study import NOT_LEARNED, SEED, Control, Measurement, Setup, Study, not_learned
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LR, BATCH = 0.01, 128
STATISTIC_STEPS = 50  # with a rate of 0, after which the norms have the statistics of the images
SHOWN_STEPS = (1, 3, 10, 30, 100, 300)
SIZE_IMAGES = 100  # that sizes are measured with
TRAINED, WITH, WITHOUT = "trained network", "new blocks", "new blocks without shortcut"


def check(networks: Sequence[StudyNetwork]) -> None:
    """Raise UserError for a network without a place for a new block."""
    for network in networks:
        inserted_blocks.insert(network.net, 0, with_shortcut=True)


def measure(setup: Setup) -> Measurement:
    """The sizes of the branches and the errors, of each network and seed."""
    assert setup.images is not None
    rows: list[dict[str, Any]] = []
    effects, obstacles, controls = {}, {}, []
    for network in setup.networks:
        images, labels = setup.images.stacked(network.checkpoint.preprocess), setup.images.labels
        half = len(images) // 2  # the first half is trained on, the second measured
        error = error_percent(network.net, images[half:], labels[half:])
        obstacles[network.name] = not_learned(error, len(setup.images.class_names))
        for name, size in branch_sizes(network.net, images[half:][:SIZE_IMAGES]).items():
            rows.append({"network": network.name, "kind": TRAINED, "block": name, "size": size, "error": error})
        changes, moved = [], 0.0
        after: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        for seed in progress_bar(setup.seeds, description=network.name, unit="seeds"):
            for kind in (WITH, WITHOUT):
                found, largest = _train(network, kind, seed, setup.numbers["steps"], images, labels)
                rows += found
                moved = max(moved, largest)
                after[kind].append(found[-1]["error"])
                if kind == WITH:
                    changes.append(_change(found))
        effects[network.name] = np.array(changes)
        in_each = all(without > with_ for without, with_ in zip(after[WITHOUT], after[WITH], strict=True))
        errors = {kind: float(np.mean(values)) for kind, values in after.items()}
        words = f"an error of {errors[WITHOUT]:.1f} % after the training, with shortcuts {errors[WITH]:.1f} %"
        controls.append(Control(f"{network.name}: without shortcuts", words, in_each))
        controls.append(Control(f"{network.name}: a rate of 0", f"a weight moved by {moved:g}", moved == 0))
    return Measurement(rows, effects, controls, obstacles)


def _train(
    network: StudyNetwork, kind: str, seed: int, steps: int, images: Tensor, labels: Tensor
) -> tuple[list[dict[str, Any]], float]:
    """The rows of one network with new blocks, at step 0 and during the training; and how far a rate of 0 moved a weight."""
    net, names = inserted_blocks.insert(network.net, seed, with_shortcut=kind == WITH)
    half = len(images) // 2
    rows: list[dict[str, Any]] = []
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    train = (images[:half], labels[:half])
    list(short_training.train(net, *train, steps=STATISTIC_STEPS, batch=BATCH, lr=0.0, seed=seed, stop_at=()))
    moved = max(float((value.detach() - before[name]).abs().max()) for name, value in net.named_parameters())

    def record(step: int) -> None:
        net.eval()
        sizes = branch_sizes(net, images[half:][:SIZE_IMAGES])
        error = error_percent(net, images[half:], labels[half:]) if step in (0, steps) else None
        rows.extend(
            {"network": network.name, "kind": kind, "block": name, "seed": seed, "step": step,
             "size": sizes[name], "error": error} for name in names
        )  # fmt: skip

    record(0)
    for step in short_training.train(
        net, *train, steps=steps, batch=BATCH, lr=LR, seed=seed, stop_at=(*SHOWN_STEPS, steps)
    ):
        record(step)
    return rows, moved


def _change(rows: Sequence[Mapping[str, Any]]) -> float:
    """log10 of the size of the new blocks at the last step, minus that at step 0, mean of the blocks."""
    last = rows[-1]["step"]
    sizes = {step: [math.log10(row["size"]) for row in rows if row["step"] == step] for step in (0, last)}
    return float(np.mean(sizes[last]) - np.mean(sizes[0]))


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The size of each branch of the trained network, and of the new blocks over the steps."""
    panels = page.subplots(2, 1)
    for number, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        own, color = [row for row in rows if row["network"] == name], f"C{number}"
        sizes = [row["size"] for row in own if row["kind"] == TRAINED]
        panels[0].plot(range(1, len(sizes) + 1), sizes, "o-", color=color, label=name)
        new = [row for row in own if row["kind"] == WITH]
        for index, block in enumerate(dict.fromkeys(row["block"] for row in new)):
            steps = sorted({row["step"] for row in new})
            values = [[row["size"] for row in new if (row["block"], row["step"]) == (block, step)] for step in steps]
            style, x = ("-", "--", ":", "-.")[index % 4], [step + 1 for step in steps]
            panels[1].plot(x, [np.mean(each) for each in values], style, color=color, label=f"{name}, {block}")
            panels[1].fill_between(x, [min(e) for e in values], [max(e) for e in values], color=color, alpha=0.1, lw=0)
    panels[0].set_xlabel("block of the trained network")
    panels[1].set_xlabel("1 + step of the training with new blocks")
    canvas.log_scale(panels[1].xaxis)
    for axes in panels:
        axes.set_ylim(bottom=0)
        axes.set_title("norm of the branch / norm of the shortcut", color=canvas.MUTED, fontweight="normal")
        canvas.legend(axes)


STUDY = Study(
    name="skipping",
    claim="Training makes a block that hurts a residual network small, so that it is skipped.",
    paper="an explanation of many tutorials",
    published="none: He et al. 2015 say that a shortcut makes it easy to learn an identity, and do not measure this",
    statistic="log10 of the size of new blocks (branch / shortcut) after training, minus that before, mean of the stages",
    unit=SEED,
    rule=Rule("less", math.log10(0.5), 0.1, least_count=3, undecided_if=NOT_LEARNED),
    control="with each seed new blocks without shortcuts leave more errors after training; at a rate of 0 no weight moves",
    protocols={
        "paper": {"images": 10_000, "steps": 300},
        "short": {"images": 2_000, "steps": 300},
        "minutes": {"images": 500, "steps": 30},
    },
    cost={"paper": "ResNet-20: 30 min", "short": "25 min", "minutes": "4 min"},
    num_networks=1,
    data=None,
    measure=measure,
    draw=draw,
    check=check,
)
