"""Files of `torch.save`: a pickle that describes tensors, and their numbers.

A pickle is a program, so it is rehearsed before torch reads it: with an interpreter in which every name stands for
something inert, and which refuses every name that a state dict does not need. It also compares the sizes that are
claimed with the bytes that are there, since `weights_only=True` alone gives a tensor any memory that it asks for.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnets.errors import UserError
from resnets.weights import archives
from resnets.weights.rehearsal import PICKLE, Rehearsal, RehearsalError, width

# One level below which the tensors may lie, by the name's commonness; with several of them the first counts.
WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "state_dict_ema", "model_ema", "ema", "params",
            "params_ema", "net", "network", "weights", "module", "backbone")  # fmt: skip

COPIES = 4  # times the size of the file that the tensors may have, since several names may share one storage
_MAGIC = 0x1950A86A20F9469CFC6C  # torch's, of the format before its version 1.6
_PROTOCOL = 1001
_ADVICE = (
    "Reading it would run that, so it is refused. If you trust its source, load it with its own program and save "
    "only the state_dict."
)


def is_archive(names: list[str]) -> bool:
    """Whether these members are those of a zip that torch wrote."""
    return any(name.endswith("/data.pkl") or name == "data.pkl" for name in names)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, and what else is known: `wrapper` and `leftovers`.

    Raises:
        UserError: it calls something, is TorchScript, is damaged, or holds no tensors.
    """
    zipped = zipfile.is_zipfile(path) or _begins(path, b"PK")
    try:
        if zipped:
            _check_zip(path)
        else:
            _check_legacy(path)
    except RehearsalError as error:
        raise UserError(_message(path, error)) from None
    return _unwrapped(path, _load(path, zipped))


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _load(path: Path, zipped: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (OSError, MemoryError) as error:
        raise UserError(f"'{path}' cannot be read: {error}.") from None
    except Exception as error:  # torch raises what its parts raise; no code of the file has run
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"'{path}' is damaged: torch cannot read it ({reason}). Fetch it again.") from None


def refusal(path: Path, calls: str) -> str:
    """The message over a pickle that would call `calls`."""
    return f"'{path}' is a Python pickle that tries to call '{calls}'. {_ADVICE}"


def calls(path: Path) -> str:
    """The first forbidden name in a pickle of any kind, or nothing; nothing is called."""
    with path.open("rb") as file:
        text = io.BytesIO(file.read(PICKLE))
    try:
        Rehearsal(text).load()
    except RehearsalError as error:
        return error.calls
    return ""


def _message(path: Path, error: RehearsalError) -> str:
    if error.calls:
        return refusal(path, error.calls)
    return f"'{path}' is no file of tensors by torch.save, or a damaged one: {error}. Fetch it again."


def _check_zip(path: Path) -> None:
    with archives.opened(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.split("/")[-1] == "data.pkl" and name.count("/") <= 1]
        root = pickles[0][: -len("data.pkl")] if len(pickles) == 1 else None
        if root is None or any(not name.startswith(root) for name in names):
            raise UserError(f"'{path}' is a zip archive, but not one of torch.save. Name the file of weights itself.")
        if root + "constants.pkl" in names or any(name.startswith(root + "code/") for name in names):
            raise UserError(
                f"'{path}' is a TorchScript program, not only weights; resnets runs no programs. Save its "
                "state_dict() with torch.save."
            )
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise UserError(f"'{path}' is compressed within, which torch.save never does. Fetch it again.")
        held = {name[len(root + "data/") :]: archive.getinfo(name).file_size for name in names
                if name.startswith(root + "data/")}  # fmt: skip
        text = archives.content(path, archive, pickles[0], PICKLE)
    rehearsal = Rehearsal(io.BytesIO(text))
    rehearsal.load()
    rehearsal.check(held)


def _check_legacy(path: Path) -> None:
    """Three small pickles, the one with the tensors, one with the order of the storages; then the storages."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = io.BytesIO(file.read(PICKLE))
        if (first := Rehearsal(head).load()) != _MAGIC or type(first) is not int:
            raise RehearsalError("it lacks the mark of torch.save")
        if Rehearsal(head).load() != _PROTOCOL:
            raise RehearsalError("its version is unknown")
        Rehearsal(head).load()  # byte order and the like of the machine
        rehearsal = Rehearsal(head)
        rehearsal.load()
        keys = Rehearsal(head).load()
        if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
            raise RehearsalError("its list of storages is none")
        rehearsal.check(dict(_legacy_storages(file, head.tell(), keys, rehearsal, size)))


def _legacy_storages(file: Any, at: int, keys: list[str], rehearsal: Rehearsal, size: int) -> Iterator[tuple[str, int]]:
    """Name and bytes of each storage that lies in the file."""
    for key in keys:
        file.seek(at, os.SEEK_SET)
        count = file.read(8)
        if len(count) < 8 or key not in rehearsal.storages:
            raise RehearsalError(f"it is cut off after {size:,} bytes")
        kind, claimed = rehearsal.storages[key]
        numel = struct.unpack("<q", count)[0]
        if numel != claimed:
            raise RehearsalError("a storage has another size than it says")
        at += 8 + numel * width(kind)
        if at > size:
            raise RehearsalError(f"it is cut off: it holds {size:,} bytes and needs more")
        yield key, numel * width(kind)


def _unwrapped(path: Path, value: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    attributes: dict[str, Any] = {}
    if isinstance(value, Mapping) and not _tensors(value):
        inner = {key: part for key, part in value.items() if isinstance(part, Mapping) and _tensors(part)}
        known = [key for key in WRAPPERS if key in inner]
        if known or len(inner) == 1:
            wrapper = known[0] if known else next(iter(inner))
            attributes["wrapper"] = str(wrapper)
            attributes["beside_wrapper"] = sorted(str(key) for key in value if key != wrapper)
            value = value[wrapper]
    tensors = _tensors(value) if isinstance(value, Mapping) else {}
    if not tensors:
        raise UserError(f"'{path}' holds no tensors by name, but {_held(value)}. Name a file with a state_dict.")
    size = path.stat().st_size
    if (claimed := sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())) > COPIES * size:
        raise UserError(f"'{path}' has {size:,} bytes and claims tensors of {claimed:,}, which is not believed.")
    if left := {str(key): type(part).__name__ for key, part in value.items() if key not in tensors}:
        attributes["leftovers"] = left
    return tensors, attributes


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {key: part.detach() for key, part in mapping.items() if isinstance(key, str) and isinstance(part, Tensor)}


def _held(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(str(key)[:40] for key in list(value)[:6])}" if value else "an empty dict"
    return f"a {type(value).__name__}"
