"""Predict any number of images into the parts of a folder, in this process, as a shard of several, or by Ray."""

from __future__ import annotations

import itertools
import os
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.data.datasets.dataset import UnusedFiles
from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.message_format import pluralize
from resnets.progress import log, progress_bar
from resnets.tasks.inputs import image_paths, predict_options, unread_images
from resnets.tasks.inputs.batching import check_options
from resnets.tasks.outputs import keep_apart
from resnets.tasks.predict_parts import image_list, job_settings, manifest, parquet_columns, ray_scheduler
from resnets.tasks.predict_parts.image_list import ImageList
from resnets.tasks.predict_parts.part import find_part_names
from resnets.tasks.predict_parts.part_predictor import PartPredictor, PartsJob, Receipt, load_models
from resnets.tasks.predict_parts.shard import in_shard, parse_shard
from resnets.tasks.trained_model import TrainedModel

IMAGES_PER_PART = 1000


@dataclass(frozen=True)
class PartsResult:
    """What `predict_parts` has done.

    Attributes:
        folder: of the parts.
        images, parts: of the whole job.
        computed: number of parts that this call has computed.
        unreadable: number of images that cannot be read, of the whole job if it is complete, else of the computed parts.
        manifest: of the complete job, as `_manifest.json` has it; None while other processes compute parts of it.
        inaccessible: folders that could not be listed, and why.
        seconds: that the computed parts took.
    """

    folder: str
    images: int
    parts: int
    computed: int
    unreadable: int
    manifest: Mapping[str, Any] | None
    inaccessible: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The attributes for JSON."""
        return vars(self) | {"inaccessible": dict(self.inaccessible), "seconds": round(self.seconds, 3)}

    def check_all_read(self) -> None:
        """Raise JobError if some images or folders could not be read."""
        if self.unreadable:
            raise JobError(
                f"{self.unreadable:,} of {self.images:,} images could not be read: the column 'error' of the parts in "
                f"'{self.folder}' says why."
            )
        unread_images.raise_for([], self.images, self.inaccessible)


def predict_parts(
    checkpoint: str | Path, paths: Sequence[str], folder: str | Path, *, resume: bool = False, shard: str | None = None,
    ray: str | None = None, ray_actors: int | None = None, images_per_part: int = IMAGES_PER_PART,
    ensemble: Sequence[str | Path] = (), batch: int = 32, workers: int | None = None, device: str = "auto",
    backend: str = "auto", precision: str = "auto", options: Mapping[str, Any] | None = None,
) -> PartsResult:  # fmt: skip
    """Predict the images at `paths` (files, folders, patterns, or "-" for a list on stdin) into Parquet files of `folder`.

    See `resnets.predict_to_parquet`.

    Raises:
        UserError: as `resnets.predict_to_parquet`.
        JobError: a part cannot be computed or written.
    """
    own_shard = parse_shard(shard)
    _check_arguments(batch, workers, images_per_part, ray)
    begun = _begun(Path(folder), resume or shard is not None)
    checkpoints, options = tuple(map(str, (checkpoint, *ensemble))), dict(options or {})
    # Actors load their own models; this process only compares settings, also where it has no GPU.
    models, digests = load_models(checkpoints, "cpu" if ray else device, backend=backend, precision=precision)
    _check_options(models, options, checkpoints[0])
    unused = UnusedFiles()
    found = keep_apart.checked("parquet", folder, paths, image_paths.iterate_images(paths, sys.stdin, unused))
    with nullcontext() if ray is None else ray_scheduler.connected(ray):
        kind = models[0].device.type if ray is None else ray_scheduler.device_of_actors(device)
        settings_of = partial(
            job_settings.settings_of, models[0], digests,
            options=options, batch=batch, images_per_part=images_per_part, device=kind,
        )  # fmt: skip
        images, settings = _begin(Path(folder), found, images_per_part, begun, settings_of)
        job = PartsJob(os.path.abspath(folder), checkpoints, settings, options, kind, workers)
        missing = _missing_parts(job, images, own_shard, resume)
        start = time.monotonic()
        counts = _compute(job, models, images, missing, ray is not None, ray_actors)
    seconds = time.monotonic() - start
    summary = manifest.write_if_complete(job, images)
    done = f"{pluralize(counts['images'], 'image')} in {pluralize(counts['parts'], 'part')}"
    log(f"{done} in {seconds:.1f} s; written: '{folder}'")
    if summary is None:
        there = len(find_part_names(Path(folder)))
        log(f"{there:,} of {len(images):,} parts are there; whoever computes the last one writes '{manifest.FILE}'")
    return PartsResult(
        folder=str(folder),
        images=images.count,
        parts=len(images),
        computed=counts["parts"],
        unreadable=counts["errors"] if summary is None else int(summary["unreadable"]),
        manifest=summary,
        inaccessible=dict(unused.inaccessible),
        seconds=seconds,
    )


def _check_arguments(batch: int, workers: int | None, images_per_part: int, ray: str | None) -> None:
    """Raise UserError for numbers out of range, a cluster that does not answer, and packages that are not installed."""
    parquet_columns.import_parquet()
    check_options(batch, workers)
    if images_per_part < 1:
        raise UserError(f"`images_per_part` must be 1 or more; received {images_per_part}.")
    if ray is not None:
        ray_scheduler.import_ray()
        ray_scheduler.check_address(ray)


def _begun(folder: Path, may_go_on: bool) -> dict[str, Any] | None:
    """The settings of the job that was begun in the folder; raise UserError if it cannot be begun there, or gone on with."""
    atomic_write.check_folder_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file. `parquet` is a folder for the parts.")
    begun = job_settings.read(folder)
    others = [] if begun is not None or not folder.exists() else [
        each.name for each in os.scandir(folder)
        if not each.name.startswith(atomic_write.TEMPORARY_PREFIX)
    ]  # fmt: skip
    if others:
        raise UserError(f"'{folder}' has other files, such as '{sorted(others)[0]}'. Choose another folder.")
    if begun is not None and not may_go_on:
        raise UserError(
            f"'{folder}' has the parts of a job that was begun: go on with it by `resume=True`, or choose another folder."
        )
    return begun


def _check_options(models: Sequence[TrainedModel], options: Mapping[str, Any], checkpoint: str) -> None:
    """Raise UserError for options that do not fit, before images are listed."""
    for model in models:
        model.check_trained()
    models[0].task.check_options(options)
    predict_options.check_top_k(options.get("top_k"), models[0].class_names, checkpoint)
    for line in models[0].task.describe_options(options, len(models)):
        log(line)


def _begin(
    folder: Path,
    paths: Iterator[str],
    images_per_part: int,
    begun: Mapping[str, Any] | None,
    settings_of: Callable[[ImageList], dict[str, Any]],
) -> tuple[ImageList, dict[str, Any]]:
    """List the images, and begin the job or go on with it; its list and its settings.

    The list is put into the folder when its settings are there, which only one of several jobs can have written, so a job that
    is refused leaves none. A list that is lost or damaged is written anew.

    Raises:
        UserError: the folder has another job.
    """
    file = folder / image_list.FILE
    paths = itertools.chain([next(paths)], paths)  # an error about the first one comes before the folder is made
    if begun is not None and file.is_file() and sha256(file) == begun.get("list_sha256"):
        images = image_list.scan(paths, images_per_part)
        settings = settings_of(images)
        job_settings.check_same(folder, begun, settings)
        return images, settings
    with atomic_write.replace_file(file) as temporary:
        with temporary.open("wb") as stream:
            images = image_list.scan(paths, images_per_part, stream)
        settings = settings_of(images)
        job_settings.check_same(folder, begun or job_settings.begin(folder, settings), settings)
    return images, settings


def _missing_parts(job: PartsJob, images: ImageList, shard: tuple[int, int], resume: bool) -> array[int]:
    """The numbers of the parts of the shard that are not there.

    Raises:
        UserError: some are there, and the job is not resumed.
    """
    present = find_part_names(Path(job.folder))
    own = in_shard(len(images), shard)
    missing = array("q", (number for number in own if job.path_of(images.part(number)).name not in present))
    if len(missing) < len(own):
        there = f"{len(own) - len(missing):,} of {len(own):,} parts are in '{job.folder}'"
        if not resume:
            raise UserError(f"{there}: compute the others with `resume=True`.")
        log(there)
    return missing


def _compute(
    job: PartsJob,
    models: Sequence[TrainedModel],
    images: ImageList,
    numbers: Sequence[int],
    by_ray: bool,
    ray_actors: int | None,
) -> Counter[str]:
    """Compute parts, given their numbers; the counts of "parts", "images" and "errors"."""
    parts = map(images.part, numbers)
    done: Iterator[Receipt | None] = (
        ray_scheduler.predict(job, list(parts), ray_actors)
        if by_ray
        else map(PartPredictor(job, models).predict, parts)
    )
    counts: Counter[str] = Counter()
    for receipt in progress_bar(done, description="predicting", total=len(numbers), unit="parts"):
        if receipt is not None:
            counts.update(parts=1, images=receipt.rows, errors=receipt.errors)
    return counts
