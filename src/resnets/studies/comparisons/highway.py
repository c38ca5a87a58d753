"""`highway`: gates against identity shortcuts, at equal parameters and multiply-adds (He et al. 2015, table 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from resnets.models.summary import layer_table
from resnets.recipes.recipe import Recipe
from resnets.report.figures import canvas
from resnets.studies.comparisons.differences import REFERENCE_NOT_LEARNED, paired, reference_not_learned
from resnets.studies.comparisons.gates import gate_control, openness
from resnets.studies.study import SEED, Control, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import TEST_ERROR, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By depth, the channels of the stages with which a highway network has the parameters and the multiply-adds of the residual one.
NARROWED = {20: (11, 24, 46), 32: (11, 23, 46), 56: (11, 24, 45)}
EQUAL = 0.02  # relative
RESIDUAL, HIGHWAY = "residual", "highway"


def depths(numbers: Mapping[str, int]) -> list[int]:
    """From the shallowest on."""
    return sorted(number for key, number in numbers.items() if key.startswith("depth"))


def recipe(name: str, seed: int, numbers: Mapping[str, int]) -> Recipe:
    """The recipe of a network such as "highway-20"."""
    kind, _, depth = name.partition("-")
    if kind == RESIDUAL:
        return cifar_training.recipe(f"cifar_resnet{depth}", seed, numbers)
    base, channels = cifar_training.recipe(f"cifar_highway{depth}", seed, numbers), NARROWED[int(depth)]
    return replace(base, model=replace(base.model, stem_channels=channels[0], out_channels=channels))


def names(numbers: Mapping[str, int]) -> list[str]:
    """Both kinds at all depths."""
    return [f"{kind}-{depth}" for depth in depths(numbers) for kind in (RESIDUAL, HIGHWAY)]


def runs(numbers: Mapping[str, int], seeds: Sequence[int]) -> list[Training]:
    """All networks, and the beginning of one highway network twice."""
    return cifar_training.all_runs(
        lambda name, seed: recipe(name, seed, numbers), names(numbers), names(numbers)[1], seeds
    )


def measure(setup: Setup) -> Measurement:
    """The test error of each highway network minus that of the residual one of the same depth, by seed."""
    pairs = {f"{depth} layers": (f"{HIGHWAY}-{depth}", f"{RESIDUAL}-{depth}") for depth in depths(setup.numbers)}
    effects = {label: paired(setup, *pair, TEST_ERROR) for label, pair in pairs.items()}
    obstacles = {label: reference_not_learned(setup, [pair[1]]) for label, pair in pairs.items()}
    controls = cifar_training.equal_controls(setup, "one network trained twice")
    for pair in pairs.values():
        highway, residual = (cifar_training.new_network(recipe(name, 0, setup.numbers)) for name in pair)
        controls += [size_control(pair[0], highway, residual), gate_control(pair[0], highway)]
    empty = {"parameters": None, "layer": None, "openness": None}
    sizes = {
        name: _parameters(cifar_training.new_network(recipe(name, 0, setup.numbers))) for name in names(setup.numbers)
    }
    rows = [row | empty | {"parameters": sizes[row["network"]]}
            for row in training_curves.rows_of(setup, names(setup.numbers))]  # fmt: skip
    for (name, seed), trained in setup.trained.items():
        if name.startswith(HIGHWAY) and seed in setup.seeds and trained.run and setup.images:
            same = dict.fromkeys(rows[0]) | {"network": name, "seed": seed}
            rows += [
                same | {"layer": k, "openness": value} for k, value in enumerate(openness(trained.run, setup.images), 1)
            ]
    return Measurement(rows, effects, controls, obstacles)


def _parameters(net: nn.Module) -> int:
    return layer_table.totals(net).trainable


def size_control(name: str, highway: nn.Module, residual: nn.Module) -> Control:
    """Whether both networks have the same numbers of parameters and multiply-adds, up to `EQUAL`."""
    ratios = [one(highway) / one(residual) for one in (_parameters, lambda net: layer_table.multiply_adds(net, 32))]
    found = f"{ratios[0]:.3f} of the parameters and {ratios[1]:.3f} of the multiply-adds"
    return Control(f"{name} is as large as the residual network", found, all(abs(each - 1) <= EQUAL for each in ratios))


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """The error by parameters, and the openness of the gates by layer, where the networks are there and not only their rows."""
    of_gates = [row for row in rows if row["openness"] is not None]
    errors, *panels = page.subplots(1, 2 if of_gates else 1, squeeze=False).flat
    found = list(dict.fromkeys(row["network"] for row in rows))
    for name in found:
        highway = name.startswith(HIGHWAY)
        last = {row["seed"]: row for row in rows if row["network"] == name and row[TEST_ERROR] is not None}
        color, sign = (canvas.VALIDATION, "s") if highway else (canvas.TRAINING, "o")
        values = [row[TEST_ERROR] for row in last.values()]
        sizes = [row["parameters"] / 1e6 for row in last.values()]
        errors.plot(sizes, values, sign, color=color, alpha=0.5, fillstyle="none" if highway else "full")
        errors.annotate(name, (sizes[0], max(values)), textcoords="offset points", xytext=(6, 4))
        own = [row for row in of_gates if row["network"] == name]
        layers = sorted({row["layer"] for row in own})
        means = [np.mean([row["openness"] for row in own if row["layer"] == layer]) for layer in layers]
        if own:
            panels[0].plot(layers, means, "-" if name == found[1] else "--", color=canvas.VALIDATION, label=name)
    errors.margins(x=0.25)
    errors.set_xlabel("million parameters")
    errors.set_title("test error in percent, each seed", color=canvas.MUTED, fontweight="normal")
    for gates in panels:
        gates.set_ylim(0, 1)
        gates.set_xlabel("gated layer; T = 0: its input, T = 1: its branch")
        gates.set_title("mean of the gate T", color=canvas.MUTED, fontweight="normal")
        canvas.legend(gates)


_SHORT = {"depth1": 20, "depth2": 56, "batch": 128, "imgsz": 32, "steps": 3_000, "window": 100, "images": 10_000}
STUDY = Study(
    name="highway",
    claim="A highway network has a higher test error than a residual network of the same depth, parameters and multiply-adds.",
    paper="He et al. 2015, table 6, and 2016, table 1; against it: Srivastava 2025, Weighted Skip Connections are Not Harmful",
    published="He: Highway-19 (2.3 M parameters) 7.54, -32 (1.25 M) 8.80; ResNet-20 (0.27 M) 8.75, -32 (0.46 M) 7.51. "
    "Srivastava, one run each: gated 110 layers (2.65 M) 6.04, ResNet-110 (1.73 M) 6.25",
    statistic="test error of the narrowed highway network minus that of the residual network, in points",
    unit=SEED,
    rule=Rule("greater", 0.0, 1.0, least_count=3, undecided_if=REFERENCE_NOT_LEARNED),
    control="both are of one size; a gate at 1/2 and a closed gate compute their equation; one network trained twice: 0 exactly",
    protocols={
        "paper": {**_SHORT, "steps": 64_000},
        "short": _SHORT,
        "minutes": {**_SHORT, "imgsz": 16, "steps": 1_500},
    },
    data=None,
    measure=measure,
    draw=draw,
    runs=runs,
    seeds=3,
)
