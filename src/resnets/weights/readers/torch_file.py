"""Read files of `torch.save`, in the sandbox, without executing code from them.

`torch.load(weights_only=True)` makes tensors and plain values only. Every other global that the pickle names is replaced by an
inert class, so that a file with an `argparse.Namespace` beside its tensors can be read, and nothing is called.
"""

from __future__ import annotations

import io
import os
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import torch

from resnets.weights.readers import pickle_opcodes
from resnets.weights.readers.errors import RefusedError
from resnets.weights.readers.inert_classes import PARTIAL
from resnets.weights.readers.pickle_opcodes import Name
from resnets.weights.readers.torch_contents import BETWEEN, Contents, describe_value

PICKLE = 64 * 2**20  # bytes of one pickle; that of ResNet-152 has 150 kB
COPIES = 4  # times the size of the file that the tensors may have, since several names may share one storage

_BLOCKED = ("os", "posix", "nt", "sys")  # modules from which torch takes no name at all
# Globals that make tensors and plain containers only; full names, since torch and builtins have dangerous ones too.
_PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)|torch\._utils\._rebuild_\w+|"
    r"torch\._tensor\._rebuild_from_type_v2|torch\.storage\.\w+Storage|torch\.serialization\._get_layout|"
    r"torch\.(cuda\.)?(sparse\.)?\w*(Tensor|Storage)|torch\.(Size|device)|torch\.nn\.parameter\.(Parameter|Buffer)"
)
_KINDS = {f"torch.{name}" for name, each in vars(torch).items() if isinstance(each, torch.dtype | torch.qscheme)}
# By this name, pickles of tensors that torch.save did not write call torch.load(weights_only=False) on the bytes within.
_NESTED = "torch.storage._load_from_bytes"
_STDIN = "/dev/fd/0"
OLD_START = f"L{torch.serialization.MAGIC_NUMBER}L\n".encode()  # of a file in protocol 0 or 1
OLD = (
    "is a pickle of protocol 0 or 1, which torch.load(weights_only=True) does not read. If you trust its origin, load it with "
    "its own program and save the state_dict again by torch.save with pickle_protocol=2."
)
_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")
_PICKLES = 5  # in a file that is not a zip archive: two marks, the machine, the object, the names of the storages


def read(file: BinaryIO, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of all containers in the file, and a description; see `Contents`.

    The description has `leftovers`, `labels`, `top` (the keys at the top level) and `inert` (globals that were not called).

    Raises:
        RefusedError: it is TorchScript, damaged, asks for too much memory, or has no tensors.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = file.read(2) == b"PK"
    file.seek(0)
    before = _pickle_of(file) if zipped else b""
    stand_ins, rewritten = (
        pickle_opcodes.find_globals(io.BytesIO(before)) if zipped else pickle_opcodes.find_globals(file, _PICKLES)
    )
    if not zipped:
        end = file.tell()  # of the pickles
        file.seek(0)
        before = file.read(end)
        if _MAGIC not in before[:32]:
            raise RefusedError(_plain_pickle(stand_ins))
    content = file if rewritten == before else _with_pickles(file, rewritten, zipped)
    file.seek(0)
    _refuse_blocked(stand_ins)
    if zipped and pickle_opcodes.is_old(before):
        raise RefusedError(OLD)
    return _contents(_load(content, path, zipped, stand_ins), size, printable_globals(stand_ins))


def _plain_pickle(stand_ins: Iterable[str]) -> str:
    """The message for a pickle that `torch.save` did not write."""
    called = printable_globals(stand_ins)
    if others := [name for name in called if name != _NESTED]:
        return refusal_message(others[0])
    nested = f" Its tensors can be read by '{_NESTED}' only, which runs any code within them." if called else ""
    return (
        f"is a pickle that torch.save did not write.{nested} If you trust its origin, load it with its own program and "
        "save its state_dict with torch.save."
    )


def _with_pickles(file: BinaryIO, rewritten: bytes, zipped: bool) -> BinaryIO:
    """A copy in memory with `rewritten` instead of the pickles; in a file that is not a zip archive, they end at its position."""
    if not zipped:
        return io.BytesIO(rewritten + file.read())
    copy = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, rewritten if _is_pickle(info.filename) else old.read(info))
    copy.seek(0)
    return copy


def _pickle_of(file: BinaryIO) -> bytes:
    """The pickle within a zip archive of `torch.save`."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if _is_pickle(name)]
        root = pickles[0][: -len("data.pkl")] if len(pickles) == 1 else None
        if root is None or any(not name.startswith(root) for name in names):
            raise RefusedError("is a zip archive, but not one of torch.save. Name the file of weights itself.")
        if root + "constants.pkl" in names or any(name.startswith(root + "code/") for name in names):
            raise RefusedError(
                "is a TorchScript program, not only weights; resnets runs no programs. Save its state_dict() with torch.save."
            )
        if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size
               for info in archive.infolist()):  # fmt: skip
            raise RefusedError("is compressed, which torch.save never does. Download the file again.")
        with archive.open(pickles[0]) as member:
            text = member.read(PICKLE + 1)
    if len(text) > PICKLE:
        raise RefusedError(f"holds a pickle of more than {PICKLE:,} bytes, which is more than any state_dict needs.")
    return text


def printable_globals(names: Iterable[str]) -> list[str]:
    """The globals that are neither torch's tensor functions nor plain containers, as printable names."""
    words = [name for name in names if not _PLAIN.fullmatch(name) and name not in _KINDS]
    known = [f"os{name[name.index('.') :]}" if name.startswith(("posix.", "nt.")) else name for name in words]
    return ["".join(letter if letter.isprintable() else "?" for letter in name[:120]) for name in known]


def _is_pickle(name: str) -> bool:
    return name.split("/")[-1] == "data.pkl" and name.count("/") <= 1


def refusal_message(name: str) -> str:
    """The message for a file that would call `name`; it follows the name of the file."""
    return (
        f"is a Python pickle that tries to call '{name}'. Reading it would run that, so it is refused. If you trust its "
        "origin, load it with its own program and save only the state_dict."
    )


def _refuse_blocked(stand_ins: Iterable[str]) -> None:
    if blocked := [name for name in stand_ins if name.split(".")[0] in _BLOCKED]:
        raise RefusedError(refusal_message(printable_globals(blocked)[0]))


def _load(file: BinaryIO, path: str, zipped: bool, stand_ins: Mapping[Name, type]) -> Any:
    # The file that was opened, even if another one is at the path by now.
    location = _STDIN if os.path.exists(_STDIN) else path
    mapped = zipped and not isinstance(file, io.BytesIO)
    # torch translates fewer names of Python 2 than Python does, and accepts no subclass of str.
    inert: list[Any] = [(kind, str(each)) for name, kind in stand_ins.items() for each in {name, name.raw}]
    inert.append((PARTIAL, f"{__name__}.PARTIAL"))  # under any name, since torch calls only what it was given
    with warnings.catch_warnings(), torch.serialization.safe_globals(inert):
        warnings.simplefilter("ignore")  # about protocols and storages in old files
        try:
            return torch.load(location if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
        except MemoryError:
            raise RefusedError(
                "asks for more memory than a file of its size can need, so it is refused: the file is damaged, or made to "
                "exhaust the memory."
            ) from None
        except Exception as error:  # of any type
            reason = (
                " ".join(str(error).rpartition("WeightsUnpickler error: ")[2].split())[:120] or type(error).__name__
            )
            raise RefusedError(
                f"is not a file of tensors by torch.save, or is damaged: torch cannot read it ({reason}). "
                "Download the file again."
            ) from None


def _contents(value: Any, size: int, inert: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    found = Contents()
    found.walk(value, ())
    has_weights = {location: any(name.startswith(location + BETWEEN) and name.endswith(".weight") for name in found.tensors)
             for location in found.leftovers if location not in found.unread}  # fmt: skip
    if found.unread and not any(has_weights.values()):
        name, what = next(iter(found.unread.values()))
        raise RefusedError(f"has weights that are not plain numbers: '{name}' {what} instead.")
    if not found.tensors and inert:
        raise RefusedError(f"holds no tensors by name, but {refusal_message(inert[0]).removeprefix('is ')}")
    if not found.tensors:
        raise RefusedError(f"holds no tensors by name, but {describe_value(value)}. Name a file with a state_dict.")
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in found.tensors.values())
    if claimed > COPIES * size:
        raise RefusedError(f"has {size:,} bytes and claims tensors of {claimed:,}, which it cannot hold.")
    seen: set[int] = set()
    tensors = {}
    for name, tensor in found.tensors.items():
        start = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone().contiguous() if start in seen else tensor.contiguous()
        seen.add(start)
    top = [str(key) for key in value] if isinstance(value, Mapping) else []
    return tensors, {"leftovers": found.leftovers, "labels": found.labels, "inert": inert, "top": top}
