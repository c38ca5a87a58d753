"""`degradation`: a deeper plain network has a higher error, a deeper residual one has not (He et al. 2015, figure 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.recipes.recipe import Recipe
from resnets.studies import verdict
from resnets.studies.comparisons.differences import paired
from resnets.studies.study import SEED, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import EPOCH_ERROR, RUNNING_ERROR, TEST_ERROR, TRAIN_ERROR, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAIN, RESIDUAL = "plain", "residual"
MODELS = {PLAIN: "cifar_plain", RESIDUAL: "cifar_resnet"}
SUBJECTS = {"training error": TRAIN_ERROR, "test error": TEST_ERROR}
MET = 1.0  # points by which the deep residual network may be behind the shallow one, if the training was long enough
BEHIND = f"the deeper residual network is more than {MET:g} point behind the shallower one"
NOT_RISEN = "the error of the plain networks does not rise with their depth"
UNDECIDED_IF = f"in the mean {BEHIND}, or {NOT_RISEN} though the statistic is above 0"


def names(numbers: Mapping[str, int]) -> list[str]:
    """The networks: both kinds at both depths."""
    return [f"{kind}-{numbers[depth]}" for kind in MODELS for depth in ("depth1", "depth2")]


def recipe(name: str, seed: int, numbers: Mapping[str, int]) -> Recipe:
    """The recipe of a network such as "plain-20"."""
    kind, _, depth = name.partition("-")
    return cifar_training.recipe(f"{MODELS[kind]}{depth}", seed, numbers)


def runs(numbers: Mapping[str, int], seeds: Sequence[int]) -> list[Training]:
    """All networks, and the beginning of one training twice."""
    return cifar_training.all_runs(
        lambda name, seed: recipe(name, seed, numbers), names(numbers), names(numbers)[0], seeds
    )


def measure(setup: Setup) -> Measurement:
    """The gap between the depths of the plain networks minus that of the residual ones, by seed."""
    effects: dict[str, np.ndarray] = {}
    obstacles: dict[str, str] = {}
    for subject, quantity in SUBJECTS.items():
        last = {key: each.last(quantity) for key, each in setup.trained.items()}
        effects[subject], obstacle = _differences(last, setup, setup.numbers["steps"])
        obstacles[subject] = obstacle or _not_risen(last, setup, float(np.mean(effects[subject])))
    controls = cifar_training.equal_controls(setup, "one network trained twice")
    for plain, residual in zip(names(setup.numbers)[:2], names(setup.numbers)[2:], strict=True):
        controls += cifar_training.shortcut_controls(*(recipe(name, 0, setup.numbers) for name in (plain, residual)))
    notes, rows = [*_gaps(setup), *_notes(setup)], training_curves.rows_of(setup, names(setup.numbers))
    return Measurement(rows, effects, controls, obstacles, notes)


def _not_risen(errors: Mapping[tuple[str, int], float], setup: Setup, statistic: float) -> str:
    """Why a statistic above 0 does not show the claim, if the error of the plain networks does not rise with their depth."""
    shallow, deep, *_ = names(setup.numbers)
    gap = float(np.mean([errors[deep, seed] - errors[shallow, seed] for seed in setup.seeds]))
    return "" if gap > 0 or statistic <= 0 else f"{NOT_RISEN} ({gap:.1f} points); only the residual ones gain"


def _gaps(setup: Setup) -> list[str]:
    """Both gaps of the statistic, each with an interval that decides nothing."""
    notes, pairs = [], (names(setup.numbers)[:2], names(setup.numbers)[2:])
    for subject, quantity in SUBJECTS.items() if setup.seeds else ():
        for shallow, deep in pairs:
            gap = verdict.mean_interval(paired(setup, deep, shallow, quantity), verdict.ALPHA)
            words = f"{deep} minus {shallow}: {gap.effect:.3g} [{gap.low:.3g}, {gap.high:.3g}] points, 95 % interval"
            notes.append(f"{subject}: {words}")
    return notes


def _differences(errors: Mapping[tuple[str, int], float], setup: Setup, step: int) -> tuple[np.ndarray, str]:
    """Gap minus gap by seed, and why nothing can be decided; `errors` are those after `step` steps."""
    columns = {name: np.array([errors[name, seed] for seed in setup.seeds]) for name in names(setup.numbers)}
    plain_shallow, plain_deep, shallow, deep = columns.values()
    behind = float(np.mean(deep - shallow)) if setup.seeds else math.inf
    problem = (
        f"after {step:,} steps the deeper residual network is still {behind:.1f} points behind the shallower one, "
    )
    problem += "as it is at the beginning of every training; the trainings must be longer"
    return (plain_deep - plain_shallow) - (deep - shallow), "" if behind <= MET else problem


def _notes(setup: Setup) -> list[str]:
    """What the running training error would have said after the first window, and since when the sign is that at the end."""
    curves = {key: each.curve(RUNNING_ERROR) for key, each in setup.trained.items() if key[0] in names(setup.numbers)}
    steps = sorted(set.intersection(*(set(curve) for curve in curves.values()))) if curves and setup.seeds else []
    if not steps:
        return []
    found = [_differences({key: curve[step] for key, curve in curves.items()}, setup, step) for step in steps]
    alpha = verdict.LOOKS.get(len(setup.seeds), verdict.ALPHA) / len(SUBJECTS)
    early = verdict.judge(verdict.mean_interval(found[0][0], alpha), STUDY.rule, alpha, found[0][1])
    notes = [f"after {steps[0]} steps, by the running training error: {early.word}, {early.interval.effect:.1f} points"]
    for index, seed in enumerate(setup.seeds):
        positive = [bool(values[index] > 0) for values, _ in found]
        since = next((step for at, step in enumerate(steps) if all(positive[at:])), None)
        stays = f"is positive from the {since:,} steps on" if since else "is not positive at the end"
        notes.append(f"seed {seed}: by the running training error, gap minus gap {stays}")
    return notes


def draw(rows: Sequence[Mapping[str, Any]], page: Figure) -> None:
    """Figure 6 of the paper, and below it the statistic over the steps."""
    panels = page.subplot_mosaic([[PLAIN, RESIDUAL], ["gap", "gap"]])
    found = sorted({row["network"] for row in rows}, key=lambda name: (name.split("-")[0], int(name.split("-")[1])))
    for kind in MODELS:
        training_curves.draw_errors(panels[kind], rows, [name for name in found if name.startswith(kind)])
    panels[RESIDUAL].sharey(panels[PLAIN])
    curves = {}
    for label, quantity in (("training", RUNNING_ERROR), ("test", EPOCH_ERROR)):
        tables = [training_curves.table(rows, name, quantity) for name in found]
        if len(tables) == len(MODELS) * 2 and tables[0][0]:
            plain_shallow, plain_deep, shallow, deep = (values for _, values in tables)
            curves[label] = tables[0][0], (plain_deep - plain_shallow) - (deep - shallow)
    title = "gap of the plain networks minus gap of the residual ones, points, with 95 % interval"
    training_curves.draw_difference(panels["gap"], curves, title)


_SHORT = {"depth1": 20, "depth2": 56, "batch": 128, "imgsz": 32, "steps": 3_000, "window": 100, "images": 10_000}
STUDY = Study(
    name="degradation",
    claim="With more layers the error of a plain network rises, in training and test; that of a residual network does not.",
    paper="He et al. 2015, figure 6 and table 6",
    published="test error: plain-20 about 9.5, plain-56 about 13 (read off the figure); ResNet-20 8.75, ResNet-56 6.97",
    statistic="error of plain-56 minus that of plain-20, minus the same difference of the residual networks, in points",
    unit=SEED,
    rule=Rule("greater", 0.0, 1.0, least_count=3, undecided_if=UNDECIDED_IF),
    control="one network trained twice: 0 exactly; each residual network is the plain one with shortcuts, and nothing else",
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
