"""`degradation`: a deeper plain network has a higher error, a deeper residual one has not (He et al. 2015, figure 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from resnets.recipes.recipe import Recipe
from resnets.studies import verdict
from resnets.studies.comparisons import degradation_figure
from resnets.studies.comparisons.degradation_figure import PLAIN, RESIDUAL
from resnets.studies.comparisons.differences import paired
from resnets.studies.study import SEED, Measurement, Setup, Study
from resnets.studies.trainings import cifar_training, training_curves
from resnets.studies.trainings.training import RUNNING_ERROR, TEST_ERROR, TRAIN_ERROR, Training
from resnets.studies.verdict import Rule

MODELS = {PLAIN: "cifar_plain", RESIDUAL: "cifar_resnet"}
SUBJECTS = {"training error": TRAIN_ERROR, "test error": TEST_ERROR}
PAPER_STEPS = 64_000  # after which ResNet-56 is ahead of ResNet-20 by 1.8 points
MET = 1.0  # points by which the deep residual network may be behind the shallow one, if the training was long enough
BEHIND = f"the deeper residual network is more than {MET:g} point behind the shallower one"
NOT_RISEN = "the interval of the plain networks' gap alone is not above 0"
UNDECIDED_IF = f"in the mean {BEHIND}, or {NOT_RISEN} though the statistic is"


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
    """Why a statistic above 0 does not show the claim, if it is not sure that the plain networks' error rises."""
    shallow, deep, *_ = names(setup.numbers)
    gap = verdict.mean_interval(
        np.array([errors[deep, seed] - errors[shallow, seed] for seed in setup.seeds]), _alpha(setup)
    )
    if gap.low > 0 or statistic <= 0:
        return ""
    return (
        f"{NOT_RISEN}: {gap.effect:.3g} [{gap.low:.3g}, {gap.high:.3g}] points; the residual networks gain with depth"
    )


def _alpha(setup: Setup) -> float:
    """The probability of an error of one subject, at this number of seeds."""
    return verdict.LOOKS.get(len(setup.seeds), verdict.ALPHA) / len(SUBJECTS)


def _gaps(setup: Setup) -> list[str]:
    """Both gaps of the statistic, with intervals of the level that the study has."""
    level = f"{100 * (1 - _alpha(setup)):.4g} %"
    notes, pairs = [], (names(setup.numbers)[:2], names(setup.numbers)[2:])
    for subject, quantity in SUBJECTS.items() if setup.seeds else ():
        for shallow, deep in pairs:
            gap = verdict.mean_interval(paired(setup, deep, shallow, quantity), _alpha(setup))
            words = f"{deep} minus {shallow}: {gap.effect:.3g} [{gap.low:.3g}, {gap.high:.3g}] points, {level} interval"
            notes.append(f"{subject}: {words}")
    return notes


def _differences(errors: Mapping[tuple[str, int], float], setup: Setup, step: int) -> tuple[np.ndarray, str]:
    """Gap minus gap by seed, and why nothing can be decided; `errors` are those after `step` steps."""
    columns = {name: np.array([errors[name, seed] for seed in setup.seeds]) for name in names(setup.numbers)}
    plain_shallow, plain_deep, shallow, deep = columns.values()
    behind = float(np.mean(deep - shallow)) if setup.seeds else math.inf
    behind_by = f"the deeper residual network is still {behind:.1f} points behind the shallower one"
    needed = f"more steps are needed (in the paper it is ahead after {PAPER_STEPS:,})"
    problem = f"after {step:,} steps {behind_by}; {needed}"
    return (plain_deep - plain_shallow) - (deep - shallow), "" if behind <= MET else problem


def _notes(setup: Setup) -> list[str]:
    """What the running training error would have said after the first window, and since when the sign is that at the end."""
    curves = {key: each.curve(RUNNING_ERROR) for key, each in setup.trained.items() if key[0] in names(setup.numbers)}
    steps = sorted(set.intersection(*(set(curve) for curve in curves.values()))) if curves and setup.seeds else []
    if not steps:
        return []
    found = [_differences({key: curve[step] for key, curve in curves.items()}, setup, step) for step in steps]
    early = verdict.judge(verdict.mean_interval(found[0][0], _alpha(setup)), STUDY.rule, _alpha(setup), found[0][1])
    notes = [f"after {steps[0]} steps, by the running training error: {early.word}, {early.interval.effect:.1f} points"]
    for index, seed in enumerate(setup.seeds):
        positive = [bool(values[index] > 0) for values, _ in found]
        since = next((step for at, step in enumerate(steps) if all(positive[at:])), None)
        stays = f"is positive from the {since:,} steps on" if since else "is not positive at the end"
        notes.append(f"seed {seed}: by the running training error, gap minus gap {stays}")
    return notes


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
        "paper": {**_SHORT, "steps": PAPER_STEPS},
        "short": _SHORT,
        "minutes": {**_SHORT, "imgsz": 16, "steps": 1_500},
    },
    data=None,
    measure=measure,
    draw=degradation_figure.draw,
    runs=runs,
    seeds=3,
)
