"""Find a checkpoint by path or name: a file, a run directory, weights in the package, or published weights."""

from __future__ import annotations

import os
from pathlib import Path

from resnets.weights import checkpoint as checkpoints
from resnets.weights import local_path, pretrained
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.hub import bundled, catalog


def locate(path: str | Path) -> Path:
    """The file for `path`, as `local_path.locate` finds it; weights with a name of the catalog are downloaded and converted.

    Raises:
        UserError: there is nothing at `path`, or it is neither an ordinary file nor a run directory.
        JobError: the download failed.
    """
    name = str(path)
    if not os.path.lexists(path) and not bundled.path_of(name) and catalog.known(name):
        return pretrained.locate(name)
    return local_path.locate(path)


def read(path: str | Path, *, task: str = "classify") -> Checkpoint:
    """The checkpoint for `path`. Raises as `locate` and `checkpoint.read` do."""
    return checkpoints.read(locate(path), task=task)
