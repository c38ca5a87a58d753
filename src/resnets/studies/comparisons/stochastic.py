"""`stochastic`: a residual network trained with stochastic depth has a lower test error (Huang et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.recipes.recipe import Recipe
from resnets.studies.comparisons.differences import REFERENCE_NOT_LEARNED, reference_not_learned
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import RUNNING_LOSS, SECONDS, TEST_ERROR, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WITHOUT, WITH = "without", "stochastic"
NETWORKS = (WITHOUT, WITH)
DROP_RATE = 0.5  # 1 - p_L of the paper: of the last block; it grows linearly from the first
NO_DROP_RATE = 1e-12  # so that no branch is ever dropped, and 1 - rate is 1 in fp32
CONTROL = ("short-without", "short-never-dropped")


def recipe(network: str, seed: int, numbers: Mapping[str, int]) -> Recipe:
    """The recipe of one of `NETWORKS`."""
    base = cifar_training.recipe(f"cifar_resnet{numbers['depth']}", seed, numbers)
    return base if network == WITHOUT else _dropping(base, DROP_RATE)


def _dropping(recipe: Recipe, rate: float) -> Recipe:
    return replace(recipe, model=replace(recipe.model, drop_path_rate=rate, drop_path_by="batch"))


def runs(numbers: Mapping[str, int], seeds: Sequence[int]) -> list[Training]:
    """Both networks with each seed, and the beginning of a training without dropping and with a rate of 0."""
    found = []
    for seed in seeds:
        found += [Training(network, recipe(network, seed, numbers)) for network in NETWORKS]
        short = cifar_training.beginning(recipe(WITHOUT, seed, numbers))
        found += [Training(CONTROL[0], short), Training(CONTROL[1], _dropping(short, NO_DROP_RATE))]
    return found


def measure(setup: Setup) -> Measurement:
    """The test error without stochastic depth minus that with it, by seed."""
    last = {key: each.last(TEST_ERROR) for key, each in setup.trained.items()}
    gain = np.array([last[WITHOUT, seed] - last[WITH, seed] for seed in setup.seeds])
    controls = cifar_training.equal_controls(setup, "no branch is ever dropped", CONTROL) + _dropping_controls(setup)
    rows = training_curves.rows_of(setup, NETWORKS)
    obstacle = reference_not_learned(setup, [WITHOUT])
    return Measurement(rows, {"test error": gain}, controls, {"test error": obstacle}, _times(setup))


def _dropping_controls(setup: Setup) -> list[Control]:
    """Whether dropping branches changes the losses, with each seed."""
    controls = []
    for seed in setup.seeds:
        without, with_ = (setup.trained[name, seed].curve(RUNNING_LOSS) for name in NETWORKS)
        count = sum(without[step] != with_.get(step) for step in without)
        found = f"other losses in {count} of {len(without)} windows"
        controls.append(Control(f"branches are dropped, seed {seed}", found, count == len(without) > 0))
    return controls


def _times(setup: Setup) -> list[str]:
    """The time of a step, which decides nothing, since it depends on what else the machine did."""
    steps = setup.numbers["steps"]
    seconds = {name: [setup.trained[name, seed].last(SECONDS) / steps for seed in setup.seeds] for name in NETWORKS}
    machines = {row.get("machine") for each in setup.trained.values() for row in each.rows}
    if not setup.seeds or len(machines) > 1:
        return []
    without, with_ = (float(np.mean(seconds[name])) for name in NETWORKS)
    saved = 100 * (1 - with_ / without)
    return [
        f"a step takes {without:.3g} s without and {with_:.3g} s with stochastic depth: {saved:.0f} % less (paper: 25 %)"
    ]


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The errors over the steps."""
    training_curves.draw_errors(page.subplots(), rows, NETWORKS)


_SHORT = {"depth": 56, "batch": 128, "imgsz": 32, "steps": 6_000, "window": 100, "images": 10_000}
STUDY = Study(
    name="stochastic",
    claim="Dropping branches at random during training lowers the test error of a residual network.",
    paper="Huang et al. 2016, Deep Networks with Stochastic Depth, table 1 and section 4",
    published="CIFAR-10, ResNet-110 in 500 epochs: 5.23 with stochastic depth, 6.41 without, in 25 % less time",
    statistic="test error without stochastic depth minus that with it (p_L = 0.5, one draw for a batch), in points",
    unit=SEED,
    rule=Rule("greater", 0.0, 0.5, least_count=3, undecided_if=REFERENCE_NOT_LEARNED),
    control="a dropping rate of 0: the same losses and errors as without, to the last digit; with dropping no loss is the same",
    protocols={
        "paper": {**_SHORT, "depth": 110, "steps": 195_000},
        "short": _SHORT,
        "minutes": {**_SHORT, "depth": 20, "imgsz": 16, "steps": 1_500},
    },
    data=None,
    measure=measure,
    draw=draw,
    runs=runs,
    seeds=3,
)
