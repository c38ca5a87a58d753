"""What decides the bytes of each part of a job, as a file of its folder that other processes compare with their own."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.errors import UserError
from resnets.inference.exported.exported_runner import ExportedRunner
from resnets.message_format import format_list, printable
from resnets.tasks.predict_parts.image_list import ImageList, Part
from resnets.tasks.trained_model import TrainedModel

FILE = "_settings.json"
FORMAT = 1
PARQUET = ".parquet"
NAME_DIGITS = 16  # of the hash in the name of a part, hexadecimal
# How messages call the settings whose key does not say it.
_WORDS = {
    "format": "the format of the folder",
    "model_sha256": "the SHA-256 of the model",
    "ensemble_sha256": "the SHA-256 of the models of `ensemble`",
    "images": "the number of images",
    "list_sha256": "the SHA-256 of the list of images",
    "working_directory": "the working directory, where relative paths begin,",
}


def settings_of(
    model: TrainedModel,
    digests: Sequence[str],
    images: ImageList,
    options: Mapping[str, Any],
    batch: int,
    images_per_part: int,
) -> dict[str, Any]:
    """The settings of a job, as JSON has them.

    Args:
        digests: the SHA-256 of the model and of those of its ensemble.
        options: those of the task.
    """
    return {
        "format": FORMAT,
        "task": model.task.name,
        "model_sha256": digests[0],
        "ensemble_sha256": list(digests[1:]),
        **_computed_by(model),
        "batch": batch,
        "options": json.loads(json.dumps(options)),  # lists in place of tuples
        "images_per_part": images_per_part,
        "images": images.count,
        "list_sha256": images.sha256,
        "working_directory": os.getcwd() if images.has_relative_paths else None,
    }


def _computed_by(model: TrainedModel) -> dict[str, str]:
    if isinstance(model.runner, ExportedRunner):
        return model.runner.choice._asdict()  # of "auto": what is installed here
    return {"backend": model.runner.backend, "precision": model.runner.precision}


def part_name(part: Part, settings: Mapping[str, Any]) -> str:
    """The name of a part: its number, so that names sort as the list does, and a hash of what decides its bytes."""
    content = json.dumps([settings, part.sha256], sort_keys=True)
    return f"part-{part.number:07d}-{hashlib.sha256(content.encode()).hexdigest()[:NAME_DIGITS]}{PARQUET}"


def read(folder: Path) -> dict[str, Any] | None:
    """The settings of the job that was begun in a folder; None if there is none.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        settings = json.loads((folder / FILE).read_text("utf-8"))
        if isinstance(settings, dict):
            return settings
        reason = "it is damaged"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        reason = "it is damaged"
    except OSError as error:
        reason = error.strerror or str(error)
    raise UserError(f"'{folder / FILE}' cannot be read: {reason}. Choose another folder.")


def begin(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write the settings, unless another process has begun a job in the folder meanwhile; return those that are there."""
    atomic_write.create_text(folder / FILE, json.dumps(settings, indent=1, sort_keys=True) + "\n")
    found = read(folder)
    assert found is not None
    return found


def check_same(folder: Path, begun: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise UserError if the job that was begun in the folder has other settings; the message says which."""
    differing = list(_differences(begun, own))
    if differing:
        shown = format_list(differing, 6, quote=False, separator="; ")
        raise UserError(
            f"'{folder}' has the parts of another job: {shown}. Repeat the command that began it, or choose another folder."
        )


def _differences(begun: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    found = []
    for key in sorted({*begun, *own}):
        theirs, ours = begun.get(key), own.get(key)
        if theirs == ours:
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict):
            found += _differences(theirs, ours)
        else:
            found.append(f"{_WORDS.get(key, f'`{key}`')} is {_shown(ours)}, and was {_shown(theirs)}")
    return found


def _shown(value: Any) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return f"{text[:8]}…" if len(text) == 64 and text.isalnum() else text
