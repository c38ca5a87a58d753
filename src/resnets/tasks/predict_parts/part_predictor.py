"""Compute a part: the predictions of its images by a model, as a Parquet file that appears whole or not at all."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from resnets import atomic_write
from resnets.errors import JobError
from resnets.inference.exported import int8_files
from resnets.tasks import load_model
from resnets.tasks.exported.exported_model import ExportedModel
from resnets.tasks.inputs.hashed_file import HashedFile
from resnets.tasks.predict_parts import image_list, job_settings, parquet_columns
from resnets.tasks.predict_parts.part import Part, part_name
from resnets.tasks.trained_model import TrainedModel


@dataclass(frozen=True)
class PartsJob:
    """What a process needs to compute parts of a job; plain values, which are sent to other machines.

    Attributes:
        folder: of the parts; absolute.
        checkpoints: the model and those of its ensemble, as `load_model.load` takes them.
        settings: as `job_settings.settings_of` gives them.
        options: those of the task.
        device: of each process that computes parts.
        workers: of this process; no part depends on it.
    """

    folder: str
    checkpoints: tuple[str, ...]
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    device: str
    workers: int | None

    def path_of(self, part: Part) -> Path:
        """The file of a part."""
        return Path(self.folder) / part_name(part, self.settings)


class Receipt(NamedTuple):
    """What was done for a part: its number, its rows, how many of them have an error, and the seconds that it took."""

    part: int
    rows: int
    errors: int
    seconds: float


class PartPredictor:
    """The models of a job; computes one part after the other.

    Args:
        models: those of `job.checkpoints`; None to load them.

    Raises:
        UserError: as `load_model.load`.
        JobError: a model is not that of the job, or is computed by other versions or on another kind of device.
    """

    def __init__(self, job: PartsJob, models: Sequence[TrainedModel] | None = None) -> None:
        self.job = job
        self.models = _load(job) if models is None else list(models)
        model = self.models[0]
        job_settings.check_computed_alike(job.settings, model.device.type)
        self.metadata = {
            "settings": dict(job.settings),
            "network": None if model.spec is None else model.spec.name,
            "class_names": list(model.class_names) if model.has_class_names else None,
            "preprocess": model.preprocess.to_dict(),
            "versions": {**job.settings["versions"], "pyarrow": version("pyarrow")},
        }

    def predict(self, part: Part) -> Receipt | None:
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
        files = list(map(HashedFile, paths))
        # Without a length, so that how a part is computed does not depend on its size.
        stream = model.stream(
            iter(files), batch=job.settings["batch"], workers=job.workers, ensemble=others, **job.options
        )
        table = parquet_columns.to_table(
            model.task,
            ((prediction, file.digest()) for prediction, file in zip(stream, files, strict=True)),
            job.settings["model_sha256"],
            {"part": part.number, **self.metadata},
        )
        content = parquet_columns.encode(table)
        try:
            atomic_write.write_bytes(path, content)
        except JobError:
            # Another process has written it, and removed what was half written when all parts were there.
            if not path.exists():
                raise
        errors = table.num_rows - table.column("error").null_count
        return Receipt(part.number, table.num_rows, errors, time.monotonic() - start)


def load_models(
    checkpoints: Sequence[str], device: str, *, backend: str, precision: str
) -> tuple[list[TrainedModel], list[str]]:
    """The models, and the SHA-256 of the files that compute their predictions.

    A checkpoint is computed in fp32 by default, and never as the size of the job or the installed packages have it, so that
    parts of several machines differ by rounding only.

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
