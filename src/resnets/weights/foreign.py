"""Weights that other programs wrote, in any of their containers, as tensors by the names that they gave them.

Reading runs no code from a file, takes memory in proportion to its size, and ends every doubtful file with one line.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.errors import UserError, suggestion
from resnets.weights import archives, documents, hdf5, kerasfile, kinds, pickles, safetensor

CONFIG = "config.json"
FOLDER = (
    "model.safetensors",
    safetensor.INDEX,
    "pytorch_model.bin",
)  # what Hugging Face calls the weights; the first counts
PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".th", ".tar", ".pkl", ".ckpt")


@dataclass(frozen=True, eq=False)
class Foreign:
    """The content of a file.

    Attributes:
        path: as it was given; a file or a folder.
        container: "pickle", "safetensors", "h5" or "keras".
        tensors: on the CPU, by the names in the file, in its layout; they may be mapped from the file.
        attributes: what else is known.
            wrapper: the key or group under which the tensors lie, when they do not lie at the top.
            beside_wrapper: the other keys at the top.
            leftovers: {name: type} of what is no tensor among the tensors.
            metadata: that of a safetensors header.
            config: the parsed config.json of a Hugging Face folder, or of a Keras model.
            layers: of Keras, in order: [{"name", "tensors": [names, in order]}].
            skipped: groups of an HDF5 file that were left out, such as the state of an optimizer.
            keras_version, backend: what Keras writes of itself.
    """

    path: str
    container: str
    tensors: dict[str, Tensor]
    attributes: dict[str, Any]


def read(path: str | Path) -> Foreign:
    """Read the file at `path`, or the weights in the Hugging Face folder at `path`.

    The content decides what it is, not the name.

    Raises:
        UserError: anything but an undamaged file of tensors; one line that names the path and what was found there.
    """
    file = _file(Path(path))
    try:
        container, tensors, attributes = _content(file)
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(f"'{file}' cannot be read: {error.strerror}.") from None
    if not tensors:
        raise UserError(f"'{file}' holds no tensors.")
    hugging = container == "safetensors" or file.name in FOLDER
    if hugging and (config := file.parent / CONFIG).is_file():
        attributes["config"] = documents.read(config)
    return Foreign(str(path), container, tensors, attributes)


def _file(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"There is no file '{path}'.{suggestion(path.name, beside)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_ISDIR(mode):
        for name in FOLDER:
            if (path / name).is_file():
                return path / name
        raise UserError(f"'{path}' is a folder without {', '.join(FOLDER)}. Name the file of weights itself.")
    if not stat.S_ISREG(mode):
        raise UserError(f"'{path}' is not an ordinary file. Name a file of weights.")
    return path


def _content(file: Path) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    with file.open("rb") as opened:
        head = opened.read(512)
    if file.name.endswith(".index.json"):
        tensors, _ = safetensor.read_shards(file)
        return "safetensors", tensors, {}
    if head.startswith(hdf5.MAGIC):
        return "h5", *hdf5.read(file)
    if head.startswith(b"PK\x03\x04"):
        with archives.opened(file) as archive:
            names = archive.namelist()
        if kerasfile.is_archive(names):
            return "keras", *kerasfile.read(file)
        return "pickle", *pickles.read(file)
    # Before the pickle: a safetensors file begins with the length of its header, whose first byte may be any.
    if safetensor.is_one(head):
        tensors, metadata = safetensor.read(file)
        return "safetensors", tensors, {"metadata": metadata} if metadata else {}
    if head.startswith(b"\x80"):
        return "pickle", *pickles.read(file)
    return _unknown(file, head)


def _unknown(file: Path, head: bytes) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    if head[257:262] == b"ustar":
        raise UserError(f"'{file}' is a tar archive. Unpack it, or save it again with a torch newer than 0.1.")
    kind = kinds.describe(file)
    # The oldest pickles begin with any letter; one that calls something is worth a warning.
    if file.suffix in PICKLE_SUFFIXES and (calls := pickles.calls(file)):
        raise UserError(pickles.refusal(file, calls))
    if kind.startswith("no safetensors"):
        kind = "of a kind that resnets does not know, or damaged"
    raise UserError(f"'{file}' is {kind}. Weights are .pth, .safetensors, .h5 or .keras files.")
