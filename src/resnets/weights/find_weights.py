"""Find weights by path or name, and read them: a local file (`local_file.py`), or published weights (`download_published.py`)."""

import os
from pathlib import Path

from resnets.errors import UserError
from resnets.models.spec import ResNetSpec
from resnets.progress import log
from resnets.weights import adapt, download_published, local_file
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.hub import bundled, catalog


def find_file(path: str | Path) -> Path:
    """The file for `path`, as `local_file.find` finds it; weights with a name of the catalog are downloaded and converted.

    Raises:
        UserError: there is nothing at `path`, or it is neither an ordinary file nor a run directory.
        JobError: the download failed.
    """
    name = str(path)
    if not os.path.lexists(path) and not bundled.path_of(name) and catalog.known(name):
        return download_published.checkpoint_file(name)
    return local_file.find(path)


def read(path: str | Path, *, task: str | None = checkpoints.CLASSIFICATION) -> Checkpoint:
    """The checkpoint for `path`. Raises as `find_file` and `checkpoint.read` do."""
    return checkpoints.read(find_file(path), task=task)


def read_for_model(weights: str, name: str, spec: ResNetSpec, in_channels: int) -> Checkpoint:
    """The checkpoint for `weights`, of any task, for the detector or segmenter `name` with so many channels of the image.

    Raises:
        UserError: the weights are of another network than `spec`. Further as `read`.
    """
    parent = read(download_published.imagenet_to_name(weights, name), task=None)
    if parent.spec.name != spec.name:
        raise UserError(f"The weights are of {parent.spec.name}; '{name}' has the network {spec.name}.")
    parent, notes = adapt.adapt_checkpoint(parent, num_classes=None, in_channels=in_channels)
    for note in notes:
        log(note)
    return parent
