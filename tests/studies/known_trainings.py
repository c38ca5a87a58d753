"""Trainings whose rows are made up, and small data to train on."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.studies.study import Setup, Study
from resnets.studies.trainings.training import (
    COLUMNS,
    EPOCH_ERROR,
    RUNNING_ERROR,
    RUNNING_LOSS,
    TEST_ERROR,
    TRAIN_ERROR,
    Trained,
)  # fmt: skip

# Of trainings that take seconds.
TINY = {"depth1": 20, "depth2": 32, "batch": 8, "imgsz": 8, "steps": 4, "window": 2, "images": 10}


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="resnets-test-")


@functools.cache
def folder() -> Path:
    """20 images to train on and 10 to test with, in two classes; not to be changed."""
    random, home = np.random.default_rng(0), Path(_home().name, "images")
    for split, count in (("train", 10), ("test", 5)):
        for number, label in enumerate(("ant", "bee")):
            (home / split / label).mkdir(parents=True)
            for index in range(count):
                pixels = random.normal(80 + 70 * number, 45, (8, 8, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(home / split / label / f"{index}.png")
    return home


def setup(
    study: Study, numbers: Mapping[str, int], seeds: Sequence[int], error: Callable[[str, int, int], float]
) -> Setup:
    """All trainings of the study as if they were finished; `error(network, seed, step)` is each of their errors in percent."""
    assert study.runs is not None
    trained = {}
    for training in study.runs(numbers, seeds):
        seed, last = training.recipe.seed, training.recipe.stop.steps or 0
        window = training.recipe.track.window_steps
        rows = []
        for step in range(window, last + 1, window):
            value = error(training.network, seed, step)
            row = dict.fromkeys(COLUMNS) | {"network": training.network, "seed": seed, "step": step}
            row |= {RUNNING_ERROR: value, EPOCH_ERROR: value, RUNNING_LOSS: value / 40}
            rows.append(row | ({TRAIN_ERROR: value, TEST_ERROR: value} if step == last else {}))
        trained[training.network, seed] = Trained(training, rows)
    return Setup(numbers, seeds, trained=trained, num_classes=10)
