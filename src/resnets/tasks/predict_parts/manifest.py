"""The summary of a job whose parts are all there: `_manifest.json`, which is written last."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.errors import JobError
from resnets.tasks.predict_parts import image_list, parquet_columns
from resnets.tasks.predict_parts.image_list import ImageList
from resnets.tasks.predict_parts.job_settings import FORMAT
from resnets.tasks.predict_parts.part import find_part_names
from resnets.tasks.predict_parts.part_predictor import PartsJob

FILE = "_manifest.json"
KINDS = 50  # of errors that are counted each; of the others only their sum
OTHERS = "others"
_DETAIL = re.compile(r"'[^']*'|\([^()]*\)|\d[\d,.]*")  # what differs between two errors of a kind


def write_if_complete(job: PartsJob, images: ImageList) -> dict[str, Any] | None:
    """Read all parts, write the manifest, and return it; None while parts are missing.

    Of several processes on one folder, the one that ends last finds all parts. Two that do it at once write the same.

    Raises:
        JobError: a part is damaged, or the manifest cannot be written.
    """
    folder = Path(job.folder)
    if len(find_part_names(folder)) < len(images):
        return None
    errors: Counter[str] = Counter()
    count = 0
    for number in range(len(images)):
        part = images.part(number)
        path = job.path_of(part)
        if not path.exists():
            return None
        for error in _read_errors(path, image_list.read_part(folder, part)):
            count += error is not None
            if error is not None:
                kind = kind_of(error)
                errors[kind if kind in errors or len(errors) < KINDS else OTHERS] += 1
    manifest = {
        "format": FORMAT, "images": images.count, "parts": len(images), "unreadable": count, "errors": dict(errors),
        "settings": dict(job.settings),
    }  # fmt: skip
    try:
        atomic_write.write_text(folder / FILE, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    except JobError:
        # Another process has written it, and removed what was half written.
        if read(folder) is None:
            raise
    _remove_half_written(folder)
    return manifest


def read(folder: Path) -> Mapping[str, Any] | None:
    """The manifest of a folder; None if there is none that can be read."""
    try:
        manifest = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def kind_of(error: str) -> str:
    """The error without names, numbers and details, so that errors of one kind are equal."""
    return " ".join(_DETAIL.sub("", error.partition(";")[0]).split())


def _read_errors(path: Path, paths: list[str]) -> list[str | None]:
    """The errors of the rows of a part, which has these paths, each once.

    Raises:
        JobError: it has other rows, or is damaged.
    """
    try:
        columns = parquet_columns.read_columns(path, ("path", "error"))
        if columns["path"] == paths:
            return columns["error"]
        reason = "has other rows than its images"
    except (ValueError, KeyError):
        reason = "is damaged"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    raise JobError(f"'{path}' {reason}: remove it, and run the command again with `resume=True`.")


def _remove_half_written(folder: Path) -> None:
    """Remove what killed processes have left. All files are there, so nobody needs one that is still being written."""
    for path in folder.glob(f"{atomic_write.TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
