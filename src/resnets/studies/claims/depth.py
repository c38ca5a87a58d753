"""`depth`: residual networks of a thousand layers begin to learn (He et al. 2015, section 4.2; He et al. 2016, table 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.studies.shortcut_control import pass_on_control
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import RUNNING_LOSS, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS = {"residual": "cifar_resnet", "preactivation": "cifar_preresnet", "plain": "cifar_plain"}
PLAIN = "plain"


def names(numbers: Mapping[str, int]) -> list[str]:
    """The networks; the plain one is the last."""
    return [f"{kind}-{numbers[kind]}" for kind in MODELS]


def runs(numbers: Mapping[str, int], seeds: Sequence[int]) -> list[Training]:
    """The three networks with each seed."""
    return [
        Training(f"{kind}-{numbers[kind]}", cifar_training.recipe(f"{model}{numbers[kind]}", seed, numbers))
        for seed in seeds
        for kind, model in MODELS.items()
    ]


def below_chance(setup: Setup, name: str) -> np.ndarray:
    """By seed, the cross-entropy of equal probabilities minus that of the last training batches."""
    losses = [setup.trained[name, seed].last(RUNNING_LOSS) for seed in setup.seeds]
    return np.array([math.log(setup.num_classes) - loss for loss in losses])


def measure(setup: Setup) -> Measurement:
    """How far the loss of each network is below that of chance at the end."""
    *deep, plain = names(setup.numbers)
    effects = {name: below_chance(setup, name) for name in deep}
    without = below_chance(setup, plain)
    nearest = min((float((effects[name] - without).min()) for name in deep if setup.seeds), default=math.nan)
    controls = [Control(f"{plain}, without shortcuts", f"at least {nearest:.3g} behind the others", nearest > 0)]
    nets = [cifar_training.new_network(each.recipe) for each in runs(setup.numbers, [0])]
    controls += [
        pass_on_control(f"{plain} and {name}", [(nets[-1], net)]) for name, net in zip(deep, nets, strict=False)
    ]
    return Measurement(training_curves.rows_of(setup, names(setup.numbers)), effects, controls)


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The loss over the steps."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    training_curves.draw_losses(page.subplots(), rows, networks)


_SHORT = {
    "residual": 1202, "preactivation": 1001, "plain": 110, "batch": 128, "imgsz": 32, "steps": 300, "window": 10,
    "images": 10_000,
}  # fmt: skip
STUDY = Study(
    name="depth",
    claim="Residual networks of a thousand layers learn something: their loss falls below that of equal probabilities.",
    paper="He et al. 2015, section 4.2; He et al. 2016, table 4",
    published="test error: ResNet-110 6.61, ResNet-1202 7.93, pre-activation ResNet-1001 4.92; plain-110 above 60",
    statistic="cross-entropy of equal probabilities (2.303 for 10 classes) minus that of the last window of training batches",
    unit=SEED,
    rule=Rule("greater", 0.0, 0.05, least_count=3),
    control="a plain network of a tenth of the depth, in as many steps: in every seed its loss is higher; the blocks of the "
    "others pass on their input, its own do not",
    protocols={
        "paper": {**_SHORT, "steps": 64_000, "window": 100},
        "short": _SHORT,
        "minutes": {**_SHORT, "residual": 110, "preactivation": 110, "imgsz": 16, "steps": 200},
    },
    data=None,
    measure=measure,
    draw=draw,
    runs=runs,
    seeds=3,
)
