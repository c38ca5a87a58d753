"""Read files of `torch.save`, in the sandbox, without executing code from them.

A pickle can call only what its unpickler's `find_class` returns. Here these are torch's functions that make tensors, and plain
containers; in place of every other global it is the class `Inert`, so that a file with an `argparse.Namespace` beside its tensors
can be read.
"""

import _compat_pickle
import collections
import contextlib
import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, BinaryIO

import torch

from resnets.weights.readers.errors import RefusedError
from resnets.weights.readers.torch_contents import BETWEEN, Contents, Inert, describe_value

PICKLE = 64 * 2**20  # bytes of one pickle; that of ResNet-152 has 150 kB
COPIES = 4  # times the size of the file that the tensors may have, since several names may share one storage

_BLOCKED = ("os", "posix", "nt", "sys")  # a file that names a global of these modules was made to run something
# By this name, pickles of tensors that torch.save did not write call torch.load(weights_only=False) on the bytes within.
_NESTED = "torch.storage._load_from_bytes"
_PROGRAM = (
    "is a TorchScript program, not only weights; resnets runs no programs. Save its state_dict() with torch.save."
)
_STDIN = "/dev/fd/0"
_MAGIC = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")


def _data(data: Any, *_: Any) -> Any:
    """The tensor of a parameter, or of a tensor that was on another device."""
    return data


def _tensor_of_subclass(make: Any, _: Any, arguments: Any, __: Any) -> Any:
    return make(*arguments)


def _inert_class(*_: Any) -> type[Inert]:
    """In place of `getattr`, by which a pickle finds a class within a class."""
    return Inert


# All that a pickle may call, besides `Inert`.
_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "builtins.set": set,
    "_codecs.encode": lambda text, _="": text.encode("latin1"),  # how protocol 2 writes bytes
    "torch.Size": tuple,
    "torch.serialization._get_layout": torch.serialization._get_layout,
    "torch._tensor._rebuild_from_type_v2": _tensor_of_subclass,
    **{f"torch._utils._rebuild_{name}": getattr(torch._utils, f"_rebuild_{name}")
       for name in ("tensor", "tensor_v2", "tensor_v3", "sparse_tensor", "qtensor", "meta_tensor_no_storage")},
    **{f"torch._utils._rebuild_{name}": _data
       for name in ("parameter", "parameter_with_state", "device_tensor_from_cpu_tensor")},
    **{f"torch.{name}": each for name, each in vars(torch).items() if isinstance(each, torch.dtype | torch.qscheme)},
    "torch.storage.UntypedStorage": torch.UntypedStorage,
}  # fmt: skip


def read(file: BinaryIO, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of all containers in the file, and a description; see `Contents`.

    The description has `leftovers`, `labels`, `top` (the keys at the top level) and `inert` (globals that were not called).

    Raises:
        RefusedError: it is TorchScript, damaged, asks for too much memory, or has no tensors.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(32)
    inert: dict[str, None] = {}
    if zipped := head.startswith(b"PK"):
        _check_archive(file)
    elif _MAGIC not in head:
        raise RefusedError(_plain_pickle(file))
    file.seek(0)
    # The file that was opened, even if another one is at the path by now. torch would unpack a tar archive, but not from memory.
    source = (_STDIN if os.path.exists(_STDIN) else path) if zipped else io.BytesIO(file.read())
    return _contents(_load(source, inert), size, list(inert))


def _restricted_pickle(inert: dict[str, None]) -> SimpleNamespace:
    """In place of the module `pickle`: an unpickler that finds what is allowed, and adds all other names to `inert`."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
            full = f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"
            if full in _ALLOWED:
                return _ALLOWED[full]
            shown = "".join(letter if letter.isprintable() else "?" for letter in full[:120])
            if shown.startswith(("posix.", "nt.")):
                shown = f"os.{shown.partition('.')[2]}"
            inert[shown] = None
            if full.partition(".")[0] in _BLOCKED:
                raise RefusedError(_refusal_message(shown))
            return _inert_class if full == "builtins.getattr" else Inert

    return SimpleNamespace(
        __name__=__name__, Unpickler=Unpickler, load=lambda file, **settings: Unpickler(file, **settings).load()
    )


def _load(source: str | io.BytesIO, inert: dict[str, None]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about storages and source code in old files
        try:
            # Asked of torch's own reader of archives as well, since torch.load would hand a program to torch.jit.load.
            if isinstance(source, str) and "constants.pkl" in torch._C.PyTorchFileReader(source).get_all_records():
                raise RefusedError(_PROGRAM)
            return torch.load(
                source, map_location="cpu", pickle_module=_restricted_pickle(inert), weights_only=False,
                mmap=isinstance(source, str), encoding="latin1",
            )  # fmt: skip
        except RefusedError:
            raise
        except MemoryError:
            raise RefusedError(
                "asks for more memory than a file of its size can need, so it is refused: the file is damaged, or made to "
                "exhaust the memory."
            ) from None
        except Exception as error:  # of any type
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise RefusedError(
                f"is not a file of tensors by torch.save, or is damaged: torch cannot read it ({reason}). "
                "Download the file again."
            ) from None


def _plain_pickle(file: BinaryIO) -> str:
    """The message for a pickle that `torch.save` did not write."""
    file.seek(0)
    inert: dict[str, None] = {}
    with contextlib.suppress(Exception):  # what it names until then is known
        _restricted_pickle(inert).load(file)
    if others := [name for name in inert if name != _NESTED]:
        return _refusal_message(others[0])
    nested = f" Its tensors can be read by '{_NESTED}' only, which runs any code within them." if inert else ""
    return (
        f"is a pickle that torch.save did not write.{nested} If you trust its origin, load it with its own program and "
        "save its state_dict with torch.save."
    )


def _check_archive(file: BinaryIO) -> None:
    """Refuse a zip archive that `torch.save` did not write."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
    names = [info.filename for info in infos]
    pickles = [name for name in names if name.split("/")[-1] == "data.pkl" and name.count("/") <= 1]
    root = pickles[0].removesuffix("data.pkl") if len(pickles) == 1 else None
    if root is None or any(not name.startswith(root) for name in names):
        raise RefusedError("is a zip archive, but not one of torch.save. Name the file of weights itself.")
    if root + "constants.pkl" in names:
        raise RefusedError(_PROGRAM)
    if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size for info in infos):
        raise RefusedError("is compressed, which torch.save never does. Download the file again.")
    if infos[names.index(pickles[0])].file_size > PICKLE:
        raise RefusedError(f"holds a pickle of more than {PICKLE:,} bytes, which is more than any state_dict needs.")


def _refusal_message(name: str) -> str:
    """The message for a file that would call `name`; it follows the name of the file."""
    return (
        f"is a Python pickle that tries to call '{name}'. Reading it would run that, so it is refused. If you trust its "
        "origin, load it with its own program and save only the state_dict."
    )


def _contents(value: Any, size: int, inert: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    found = Contents()
    found.walk(value, ())
    has_weights = [
        name for name in found.tensors if name.endswith(".weight") and name.partition(BETWEEN)[0] not in found.unread
    ]
    if found.unread and not has_weights:
        name, what = next(iter(found.unread.values()))
        raise RefusedError(f"has weights that are not plain numbers: '{name}' {what} instead.")
    if not found.tensors:
        called = next(iter(inert), None)
        what = f"{describe_value(value)}. Name a file with a state_dict."
        if called:
            what = _refusal_message(called).removeprefix("is ")
        raise RefusedError(f"holds no tensors by name, but {what}")
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
    return tensors, {"leftovers": found.leftovers, "labels": found.labels, "inert": list(inert), "top": top}
