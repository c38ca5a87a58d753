"""Weights that other programs wrote, in any of their containers, as tensors by the names that they gave them.

Reading runs no code from a file, takes memory in proportion to its size, and ends every doubtful file with one line.
"""

from __future__ import annotations

import importlib.util
import io
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from resnets.errors import UserError, suggestion
from resnets.weights.readers import (
    file_type,
    json_file,
    keras_h5,
    pickle_opcodes,
    safetensors_file,
    sandbox,
    torch_contents,
    torch_file,
)

CONFIG = "config.json"
FOLDER = (
    "model.safetensors",
    safetensors_file.INDEX,
    "pytorch_model.bin",
)  # what Hugging Face calls the weights; the first counts
PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".th", ".tar", ".pkl", ".ckpt")
# How far a file of unknown kind is searched for names, outside of the sandbox.
SEARCHED = 2**20  # bytes
INSTRUCTIONS = 100_000
# Containers at the top that programs name so, the commonest first; where several hold as many tensors, the first counts.
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "module", "backbone",
            "params", "state_dict_ema", "model_ema", "ema", "params_ema")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Foreign:
    """The content of a file.

    Attributes:
        path: as it was given; a file or a folder.
        container: "pickle", "safetensors", "h5" or "keras".
        tensors: on the CPU, by the names in the file, in its layout; they may be mapped from the file. Where it has several
            sets of tensors, the one of the commonest name, or the largest.
        attributes: what else is known.
            wrapper: the key or group under which the tensors lie, when they do not lie at the top.
            beside_wrapper: the other keys at the top.
            leftovers: {name: type} of what is no tensor among the tensors.
            labels: {where: names of classes} that the file holds.
            inert: names of Python that the file wants and that were not called.
            metadata: that of a safetensors header.
            config: the parsed config.json of a Hugging Face folder, or of a Keras model.
            layers: of Keras, in order: [{"name", "tensors": [names, in order]}].
            skipped: groups of an HDF5 file that were left out, such as the state of an optimizer.
            keras_version, backend: what Keras writes of itself.
        sets: all sets of tensors, by the keys under which they lie, with dots between; "" is the top.
    """

    path: str
    container: str
    tensors: dict[str, Tensor]
    attributes: dict[str, Any]
    sets: dict[str, dict[str, Tensor]] = field(default_factory=dict)


def read(path: str | Path) -> Foreign:
    """Read the file at `path`, or the weights in the Hugging Face folder at `path`.

    The content decides what it is, not the name.

    Raises:
        UserError: anything but an undamaged file of tensors; one line that names the path and what was found there.
    """
    file = _file(Path(path))
    try:
        with file.open("rb") as opened:
            container, tensors, attributes = _content(file, opened)
    except OSError as error:
        raise UserError(f"'{file}' cannot be read: {error.strerror or error}.") from None
    if not tensors:
        raise UserError(f"'{file}' holds no tensors.")
    sets = {"": tensors}
    if container == "pickle":
        sets, attributes = _sets(tensors, attributes)
        tensors = sets[attributes.get("wrapper", "")]
    hugging = container == "safetensors" or file.name in FOLDER
    if hugging and (config := file.parent / CONFIG).is_file():
        attributes["config"] = json_file.read(config)
    return Foreign(str(path), container, tensors, attributes, sets)


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


def _content(file: Path, opened: IO[bytes]) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    head = opened.read(512)
    if file.name.endswith(".index.json"):
        tensors, _ = safetensors_file.read_shards(file)
        return "safetensors", tensors, {}
    if head.startswith(keras_h5.MAGIC):
        return "h5", *_of_keras(file, opened, "h5")
    if head.startswith(b"PK\x03\x04"):
        if file_type.is_torch(head):
            return "pickle", *sandbox.read(opened, file, "pickle")
        if file_type.is_keras(head):
            return "keras", *_of_keras(file, opened, "keras")
        return _unknown(file, opened, head)
    # Before the pickle: a safetensors file begins with the length of its header, whose first byte may be any.
    if safetensors_file.is_one(head):
        tensors, metadata = safetensors_file.read(file)
        return "safetensors", tensors, {"metadata": metadata} if metadata else {}
    if head.startswith(b"\x80"):
        return "pickle", *sandbox.read(opened, file, "pickle")
    return _unknown(file, opened, head)


def _of_keras(file: Path, opened: IO[bytes], reader: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if importlib.util.find_spec("h5py") is None:
        raise UserError(f"'{file}' is a file of Keras; reading it needs: pip install 'resnets[keras]'")
    return sandbox.read(opened, file, reader)


def _sets(tensors: dict[str, Tensor], described: dict[str, Any]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors of a pickle by their containers, and the attributes with the likeliest of them as `wrapper`."""
    sets: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        container, _, own = name.partition(torch_contents.BETWEEN)
        sets.setdefault(container, {})[own] = tensor

    def rank(container: str) -> tuple[int, int]:
        return WRAPPERS.index(container) if container in WRAPPERS else len(WRAPPERS), -len(sets[container])

    wrapper = min(sets, key=rank)
    attributes = {
        "labels": described["labels"],
        "inert": described["inert"],
        "leftovers": described["leftovers"][wrapper],
    }
    if wrapper:
        beside = sorted(key for key in described["top"] if key != wrapper.split(".")[0])
        attributes |= {"wrapper": wrapper, "beside_wrapper": beside}
    return sets, {name: value for name, value in attributes.items() if value}


def _unknown(file: Path, opened: IO[bytes], head: bytes) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    if head[257:262] == b"ustar":
        raise UserError(f"'{file}' is a tar archive. Unpack it, or save it again with a torch newer than 0.1.")
    if head.startswith(torch_file.OLD_START):
        raise UserError(f"'{file}' {torch_file.OLD}")
    # The oldest pickles begin with any letter; one that calls something is worth a warning.
    opened.seek(0)
    if file.suffix in PICKLE_SUFFIXES:
        names = pickle_opcodes.first_names(io.BytesIO(opened.read(SEARCHED)), INSTRUCTIONS)
        if calls := torch_file.shown(names):
            raise UserError(f"'{file}' {torch_file.refusal(calls[0])}")
    kind = file_type.describe(file)
    if kind.startswith("no safetensors"):
        kind = "of a kind that resnets does not know, or damaged"
    raise UserError(f"'{file}' is {kind}. Weights are .pth, .safetensors, .h5 or .keras files.")
