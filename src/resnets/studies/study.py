"""Study: a claim, how it is measured and judged, and what its measurement gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.studies.inputs import ImageSet, StudyNetwork
from resnets.studies.trainings.training import Trained, Training
from resnets.studies.verdict import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_LEARNED = "a network has not learned: its error is above half the error of guessing (above 45 % for 10 classes)"
PROTOCOLS = ("paper", "short", "minutes")
SEED, IMAGE, LAYER = "seed", "image", "layer"  # units


@dataclass(frozen=True)
class Setup:
    """What a measurement is made with.

    Attributes:
        numbers: those of the protocol, such as the number of images.
        seeds: 0, 1, …; empty where the unit is no seed.
        networks: the trained networks; empty for a study of new ones.
        images: None for a study without images.
        trained: by network and seed, the trainings that are finished; for a study that trains, all of each seed in `seeds`.
        num_classes: of the images that were trained on.
    """

    numbers: Mapping[str, int]
    seeds: Sequence[int] = ()
    networks: Sequence[StudyNetwork] = ()
    images: ImageSet | None = None
    trained: Mapping[tuple[str, int], Trained] = field(default_factory=dict)
    num_classes: int = 0


@dataclass(frozen=True)
class Control:
    """A case in which the effect must vanish, or the measurement must notice something: what was found, and whether it held."""

    name: str
    found: str
    holds: bool


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        rows: of `values.csv`, from which the figure is drawn.
        effects: for each subject, such as a network, the values of the statistic, one for each unit; or two arrays, whose means
            are compared.
        controls: all must hold, or no subject is decided.
        obstacles: for subjects that cannot be decided, the reason.
        notes: sentences about what else was found; they decide nothing.
    """

    rows: Sequence[Mapping[str, Any]]
    effects: Mapping[str, np.ndarray | tuple[np.ndarray, np.ndarray]]
    controls: Sequence[Control]
    obstacles: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def mean_and_range(values: np.ndarray) -> str:
    """The values of the seeds in words, for a note."""
    return f"{values.mean():.3g} in the mean, from {values.min():.3g} to {values.max():.3g}"


def not_learned(error: float, num_classes: int) -> str:
    """The obstacle that a network is to a study of trained ones, by its error in percent; "" if it is at most half of chance."""
    if error <= 50 * (1 - 1 / num_classes):
        return ""
    return f"a network has not learned these images: its error is {error:.1f} %"


@dataclass(frozen=True)
class Study:
    """A claim and its study. What stands here is written into `study.toml` before anything is measured.

    Attributes:
        claim: a sentence.
        paper, published: where it is from, and the numbers there.
        statistic: what is computed for each `unit` ("seed", "image" or "layer"), with its unit of measurement.
        control: the case in which the effect must vanish.
        protocols: by name, the numbers that `measure` reads.
        data: the images by default; None if they must be given, "" if there are none.
        draw: draws the rows into a figure.
        cost: by protocol, in words, on two cores; empty for a study that trains, whose cost is computed from its trainings.
        num_networks: how many trained networks it needs at least; 0 for new ones.
        runs: for a study that trains, its trainings by the numbers of the protocol and the seeds; None for others.
        seeds: how many, by default.
        check: raises UserError for networks that the study cannot measure, before anything is registered.
        least_images: without so many nothing can be measured.
        trained_on: whether it measures images that the networks were trained on, and not those of a test.
    """

    name: str
    claim: str
    paper: str
    published: str
    statistic: str
    unit: str
    rule: Rule
    control: str
    protocols: Mapping[str, Mapping[str, int]]
    data: str | None
    measure: Callable[[Setup], Measurement]
    draw: Callable[[Sequence[Mapping[str, Any]], Figure], None]
    cost: Mapping[str, str] = field(default_factory=dict)
    num_networks: int = 0
    runs: Callable[[Mapping[str, int], Sequence[int]], list[Training]] | None = None
    seeds: int = 5
    check: Callable[[Sequence[StudyNetwork]], None] | None = None
    least_images: int = 1
    trained_on: bool = False
