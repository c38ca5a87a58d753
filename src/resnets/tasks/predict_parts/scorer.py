"""Compute a part: the predictions of its images by a model, as a Parquet file that appears whole or not at all."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from resnets import __version__, atomic_write
from resnets.data.image.open_image_file import open_image_file
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError, JobError
from resnets.inference.exported import int8_files
from resnets.tasks import load_model
from resnets.tasks.exported.exported_model import ExportedModel
from resnets.tasks.predict_parts import image_list, job_settings, parquet_columns
from resnets.tasks.predict_parts.image_list import Part
from resnets.tasks.trained_model import TrainedModel

HASH_THREADS = 2  # the files were just read, so they are in memory
HASH_AHEAD = 16


@dataclass(frozen=True)
class PartsJob:
    """What a process needs to compute parts of a job; plain values, which are sent to other machines.

    Attributes:
        folder: of the parts; absolute.
        checkpoints: the model and those of its ensemble, as `load_model.load` takes them.
        settings: as `job_settings.settings_of` gives them.
        options: those of the task.
        device, workers: of this process; no part depends on them.
    """

    folder: str
    checkpoints: tuple[str, ...]
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    device: str
    workers: int | None

    def path_of(self, part: Part) -> Path:
        """The file of a part."""
        return Path(self.folder) / job_settings.part_name(part, self.settings)


class Receipt(NamedTuple):
    """What was done for a part: its number, its rows, how many of them have an error, and the seconds that it took."""

    part: int
    rows: int
    errors: int
    seconds: float


class Scorer:
    """The models of a job; computes one part after the other.

    Args:
        models: those of `job.checkpoints`; None to load them.

    Raises:
        UserError: as `load_model.load`.
        JobError: a model is not that of the job.
    """

    def __init__(self, job: PartsJob, models: Sequence[TrainedModel] | None = None) -> None:
        self.job = job
        self.models = _load(job) if models is None else list(models)
        model = self.models[0]
        self.metadata = {
            "settings": dict(job.settings),
            "network": None if model.spec is None else model.spec.name,
            "class_names": list(model.class_names) if model.has_class_names else None,
            "preprocess": model.preprocess.to_dict(),
            "versions": {
                "resnets": __version__, "torch": str(torch.__version__), "pillow": version("pillow"),
                "pyarrow": version("pyarrow"),
            },
        }  # fmt: skip

    def score(self, part: Part) -> Receipt | None:
        """Write a part; None if it is there.

        Raises:
            JobError: it cannot be written, the list was replaced, or the network's output is not a number.
        """
        job, start = self.job, time.monotonic()
        path = job.path_of(part)
        if path.exists():
            return None
        paths = image_list.read_part(Path(job.folder), part)
        model, *others = self.models
        # Without a length, so that how a part is computed does not depend on its size.
        stream = model.stream(
            iter(paths), batch=job.settings["batch"], workers=job.workers, ensemble=others, **job.options
        )
        hashed = ordered_map(_sha256, paths, workers=HASH_THREADS, ahead=HASH_AHEAD)
        pairs = list(zip(stream, hashed, strict=True))
        predictions, digests = [each for each, _ in pairs], [digest for _, digest in pairs]
        content = parquet_columns.encode(
            model.task, predictions, digests, job.settings["model_sha256"], {"part": part.number, **self.metadata}
        )
        try:
            atomic_write.write_bytes(path, content)
        except JobError:
            # Another process has written it, and removed what was half written when all parts were there.
            if not path.exists():
                raise
        errors = sum(each.error is not None for each in predictions)
        return Receipt(part.number, len(predictions), errors, time.monotonic() - start)


def load_models(
    checkpoints: Sequence[str], device: str, *, backend: str, precision: str
) -> tuple[list[TrainedModel], list[str]]:
    """The models, and the SHA-256 of the files that compute their predictions.

    A checkpoint is computed in fp32 by default, and never as the size of the job or the machine has it, so that each part is
    the same on any machine.

    Raises:
        UserError: as `load_model.load`.
    """
    models, digests = [], []
    for checkpoint in checkpoints:
        own = "fp32" if precision == "auto" and not load_model.is_exported(checkpoint) else precision
        model, digest = load_model.load_hashed(checkpoint, device, backend=backend, precision=own)
        models.append(model)
        # That of the int8 file, if that is what the precision means.
        digests.append(int8_files.content_sha256(model.file) if isinstance(model, ExportedModel) else digest)
    return models, digests


def _load(job: PartsJob) -> list[TrainedModel]:
    settings = job.settings
    models, digests = load_models(
        job.checkpoints, job.device, backend=settings["backend"], precision=settings["precision"]
    )
    for checkpoint, digest, own in zip(
        job.checkpoints, digests, [settings["model_sha256"], *settings["ensemble_sha256"]], strict=True
    ):
        if digest != own:
            raise JobError(f"'{checkpoint}' has other weights here than those that the job was begun with.")
    return models


def _sha256(path: str) -> str | None:
    try:
        with open_image_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except (ImageError, OSError):
        return None
