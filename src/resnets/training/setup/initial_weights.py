"""The weights that a run starts from: their file, read once, and what they were trained on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resnets.data.image.preprocess import Preprocess
from resnets.data.split import lineage
from resnets.data.split.lineage import Lineage
from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.models.spec import ResNetSpec
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, provenance
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.hub import catalog


@dataclass(frozen=True)
class InitialWeights:
    """A checkpoint; `path` is None where its file is gone, and the saved state of a run replaces its tensors."""

    checkpoint: Checkpoint
    path: Path | None

    @cached_property
    def sha256(self) -> str | None:
        return None if self.path is None else sha256(self.path)

    @cached_property
    def lineage(self) -> Lineage:
        """Which images the weights were trained on."""
        return Lineage() if self.path is None else lineage.lineage_of(self.path, self.checkpoint.provenance)

    def metadata(self) -> dict[str, Any]:
        """What a resumed run needs of the weights; their tensors are in its state."""
        assert self.path is not None
        own = self.checkpoint
        return {
            "spec": own.spec.to_dict(),
            "task": own.task,
            "config": dict(own.config),
            "preprocess": own.preprocess.to_dict(),
            "classes": list(own.class_names),
            "provenance": provenance.inherited(provenance.of_file(own.provenance, self.path)),
        }


def read(name: str) -> InitialWeights | None:
    """Read the weights of that name or path, of any task; None for "none". An error about published ones names alternatives."""
    if name == "none":
        return None
    try:
        path = find_weights.find_file(name)
        return InitialWeights(checkpoints.read(path, task=None), path)
    except (JobError, UserError) as error:
        if not catalog.known(name) or Path(name).exists():
            raise
        raise type(error)(
            f"{error} Without them: `weights=none`; with others on this machine: `weights=FILE`."
        ) from error


def from_metadata(metadata: dict[str, Any]) -> InitialWeights:
    """The weights of a resumed run whose file is gone, without tensors, by their `metadata`."""
    checkpoint = Checkpoint(
        ResNetSpec.from_dict(metadata["spec"]),
        Preprocess.from_dict(metadata["preprocess"]),
        tuple(metadata["classes"]),
        {},
        task=metadata["task"],
        config=metadata["config"],
    )
    return InitialWeights(checkpoint, None)
