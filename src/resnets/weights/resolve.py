"""From what a user names to a checkpoint: a file, a run directory, weights in the package, or published weights."""

from __future__ import annotations

import os
from pathlib import Path

from resnets.weights import checkpoint as checkpoints
from resnets.weights import local_path, pretrained
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.hub import bundled, catalog


def locate(path: str | Path) -> Path:
    """The file that `path` stands for, as `local_path.locate` finds it; a name of the catalog is downloaded and converted.

    Raises:
        UserError: there is nothing at `path`, or a folder that is not one of a run, or what is no ordinary file.
        JobError: the published weights could not be had.
    """
    name = str(path)
    if not os.path.lexists(path) and not bundled.place(name) and catalog.known(name):
        return pretrained.locate(name)
    return local_path.locate(path)


def read(path: str | Path, *, task: str = "classify") -> Checkpoint:
    """The checkpoint that `path` stands for. Raises as `locate` and `checkpoint.read` do."""
    return checkpoints.read(locate(path), task=task)
