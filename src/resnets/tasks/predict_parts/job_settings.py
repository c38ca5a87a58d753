"""What decides the rows of each part of a job, as a file of its folder that other processes compare with their own."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from resnets import __version__, atomic_write
from resnets.errors import JobError, UserError
from resnets.inference.exported.exported_runner import ExportedRunner
from resnets.message_format import format_list, printable
from resnets.tasks.predict_parts.image_list import ImageList
from resnets.tasks.trained_model import TrainedModel

FILE = "_settings.json"
FORMAT = 2
_RUNTIMES = ("openvino", "onnxruntime")  # backends that are packages of the same name
# How messages call the settings whose key does not say it.
_WORDS = {
    "format": "the format of the folder",
    "model_sha256": "the SHA-256 of the model",
    "ensemble_sha256": "the SHA-256 of the models of `ensemble`",
    "images": "the number of images",
    "list_sha256": "the SHA-256 of the list of images",
    "working_directory": "the working directory, where relative paths begin,",
    "resnets": "the version of resnets",
    "torch": "the version of PyTorch",
    "pillow": "the version of Pillow",
    "openvino": "the version of OpenVINO",
    "onnxruntime": "the version of ONNX Runtime",
}


def settings_of(
    model: TrainedModel,
    digests: Sequence[str],
    images: ImageList,
    options: Mapping[str, Any],
    batch: int,
    images_per_part: int,
    device: str,
) -> dict[str, Any]:
    """The settings of a job, as JSON has them.

    Args:
        digests: the SHA-256 of the model and of those of its ensemble.
        options: those of the task.
        device: "cpu", "cuda" or "mps"; of it and of the versions, only other kinds are noticed, not another processor.
    """
    computed_by = _computed_by(model)
    return {
        "format": FORMAT,
        "task": model.task.name,
        "model_sha256": digests[0],
        "ensemble_sha256": list(digests[1:]),
        **computed_by,
        "device": device,
        "versions": versions(computed_by["backend"]),
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


def versions(backend: str) -> dict[str, str]:
    """The versions here of the packages that decide the numbers of a part which is computed by `backend`."""
    runtime = {backend: version(backend)} if backend in _RUNTIMES else {}
    return {"resnets": __version__, "torch": str(torch.__version__), "pillow": version("pillow"), **runtime}


def check_computed_alike(settings: Mapping[str, Any], device: str) -> None:
    """Raise JobError if this process, with a model on `device`, would compute other numbers than those that the settings mean."""
    own = {"device": device, "versions": versions(settings["backend"])}
    differing = list(_differences({name: settings[name] for name in own}, own))
    if differing:
        raise JobError(
            f"'{socket.gethostname()}' cannot compute parts of this job: {'; '.join(differing)} where the job was begun."
        )


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
