"""`resnets.predict_to_parquet`: predictions of any number of images, on any number of machines."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from resnets.tasks.predict_parts.predict_parts import IMAGES_PER_PART, PartsResult, predict_parts


def predict_to_parquet(
    checkpoint: str | Path,
    paths: str | Path | Iterable[str | Path],
    folder: str | Path,
    *,
    resume: bool = False,
    shard: str | None = None,
    ray: str | None = None,
    ray_actors: int | None = None,
    images_per_part: int = IMAGES_PER_PART,
    ensemble: Sequence[str | Path] = (),
    batch: int = 32,
    workers: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> PartsResult:
    """Predict images into Parquet files, the parts, of a folder. Memory does not grow with the number of images.

    A part has a row for each of `images_per_part` consecutive images. Its name has a hash of their paths, the model and the
    settings, and it appears whole or not at all, so that each entry of the list has exactly one row whatever is killed or run
    twice.
    `_manifest.json` is written last, when all parts are there.

    Args:
        checkpoint: a checkpoint, a run directory, a name of `resnets weights list`, or an exported file.
        paths: images, folders or patterns, or "-" for a list on stdin.
        folder: new or empty, on a disk that all machines share.
        resume: compute the parts that are missing in a folder that was begun with the same arguments.
        shard: "i/n", with i from 1: of all parts, every n-th one only. The shards of one folder may run at the same time.
        ray: "auto" or the address of a Ray cluster, which computes the parts.
        ray_actors: number of its processes; None for one for each GPU or, without GPUs, for each two CPUs.
        images_per_part: number of images in a part, which is lost where a process is killed.
        ensemble: as in `TrainedModel.predict`.
        batch, workers: as in `TrainedModel.predict`.
        device, backend, precision: as in `resnets.load`; by default fp32 by the reference. With `ray`, `device` is auto, cpu
            or cuda.
        options: those of the task, such as `top_k` for classification.

    Returns:
        The result: `.computed` parts of `.parts`, `.unreadable` images, and `.manifest` if all parts are there.

    Raises:
        UserError: there is no such checkpoint or no image at all, a number is out of range, the folder has parts of another job
            (also of other versions of resnets, PyTorch or Pillow, or of another kind of device) or cannot be written, there is
            no room for `ray_actors`, or pyarrow or Ray is not installed.
        JobError: a part cannot be computed, or the disk is full.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return predict_parts(
        checkpoint, list(map(str, listed)), folder, resume=resume, shard=shard, ray=ray, ray_actors=ray_actors,
        images_per_part=images_per_part, ensemble=ensemble, batch=batch, workers=workers, device=device, backend=backend,
        precision=precision, options=options,
    )  # fmt: skip
