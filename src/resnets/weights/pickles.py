"""Files of `torch.save`, read in the sandbox: a pickle that describes tensors, and their numbers.

`torch.load(weights_only=True)` makes tensors and plain values only. Every other name that the pickle wants gets an inert class
of that name, so that an `argparse.Namespace` beside the tensors does not keep them out of reach, and nothing is called.
"""

from __future__ import annotations

import _compat_pickle
import contextlib
import os
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor

from resnets.weights.sandbox_child import RefusedError

PICKLE = 64 * 2**20  # bytes of one pickle; that of ResNet-152 has 150 kB
COPIES = 4  # times the size of the file that the tensors may have, since several names may share one storage
DEPTH = 12  # of containers in containers
VALUES = 2_000_000  # in all containers together
CLASS_NAMES = ("class_to_idx", "class_names", "classes", "class_list", "classnames", "categories", "idx_to_class", "id2label",
               "label2id", "label_names", "labels", "idx2label", "vocab", "names")  # fmt: skip

_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool)  # fmt: skip


_BLOCKED = ("os", "posix", "nt", "sys")  # modules from which torch takes no name at all
_PLAIN = ("torch.", "collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.set", "builtins.bytearray",
          "builtins.complex")  # fmt: skip
_STDIN = "/dev/fd/0"
BETWEEN = "\0"


class Inert:
    """What stands for an object of a class that torch does not know: it keeps the state and does nothing."""

    state: Any = None

    def __new__(cls, *arguments: Any, **_: Any) -> Any:
        made = object.__new__(cls)
        made.state = arguments[0] if len(arguments) == 1 else None
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """All is done."""

    def __setstate__(self, state: Any) -> None:
        # With __slots__ the state is a pair of dicts.
        pair = isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict)
        self.state = {**(state[0] or {}), **state[1]} if pair and isinstance(state[0] or {}, dict) else state


class InertList(list[Any]):
    """The same for what is appended to, such as a deque."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return list.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Left out."""


class InertDict:
    """The same for what gets keys, such as a defaultdict; torch gives keys to plain dicts only."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


class InertGetter:
    """For `getattr`, by which a pickle finds a class within a class."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return Inert


class InertTensor(Tensor):
    """For a class of tensors that is not torch's own."""


def read(file: BinaryIO, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of all containers in the file, and what else is known; see `_Found`.

    The description holds its `leftovers` and `labels`, `top` (the keys at the top) and `inert` (names that were not called).

    Raises:
        RefusedError: it is TorchScript, is damaged, claims too much, or holds no tensors.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    zipped = file.read(2) == b"PK"
    file.seek(0)
    kinds = wanted(_pickle_of(file) if zipped else file)
    file.seek(0)
    return _described(_load(file, path, zipped, kinds), size, shown(kinds))


def _pickle_of(file: BinaryIO) -> bytes:
    """The pickle within a zip archive of `torch.save`."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.split("/")[-1] == "data.pkl" and name.count("/") <= 1]
        root = pickles[0][: -len("data.pkl")] if len(pickles) == 1 else None
        if root is None or any(not name.startswith(root) for name in names):
            raise RefusedError("is a zip archive, but not one of torch.save. Name the file of weights itself.")
        if root + "constants.pkl" in names or any(name.startswith(root + "code/") for name in names):
            raise RefusedError(
                "is a TorchScript program, not only weights; resnets runs no programs. Save its state_dict() with torch.save."
            )
        if any(info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size
               for info in archive.infolist()):  # fmt: skip
            raise RefusedError("is compressed within, which torch.save never does. Fetch it again.")
        with archive.open(pickles[0]) as member:
            text = member.read(PICKLE + 1)
    if len(text) > PICKLE:
        raise RefusedError(f"holds a pickle of more than {PICKLE:,} bytes, which is more than any state_dict needs.")
    return text


class Name(str):
    """A name of a global on the stack of a pickle, or of what it makes; `raw` is as the pickle writes it."""

    raw: str


def wanted(pickle: bytes | BinaryIO) -> dict[Name, type]:
    """The globals that a pickle, or the five pickles of the format before torch 1.6, name, with what can stand for each.

    `pickletools` lists instructions and runs none. Their effect on the stack shows what is given keys or items.
    """
    found: dict[Name, type] = {}
    with contextlib.suppress(
        ValueError, IndexError, KeyError, EOFError, OverflowError, TypeError
    ):  # damaged: torch says so
        for _ in range(1 if isinstance(pickle, bytes) else 5):
            stack: list[Any] = []
            memo: dict[Any, Any] = {}
            for code, argument, _ in pickletools.genops(pickle):
                _step(code, argument, stack, memo, found)
    return found


def _step(code: pickletools.OpcodeInfo, argument: Any, stack: list[Any], memo: dict[Any, Any], found: dict[Name, type],
          ) -> None:  # fmt: skip
    """Let `stack` and `memo` follow one instruction, as far as the globals in `found` are concerned."""
    word = code.name
    if word in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
        memo[len(memo) if word == "MEMOIZE" else argument] = stack[-1]
        return
    if word in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[argument])
        return
    before, items = code.stack_before, []
    if pickletools.stackslice in before:
        at = len(stack) - 1 - stack[::-1].index(pickletools.markobject)
        items = stack[at + 1 :]
        del stack[at:]
        before = before[: before.index(pickletools.markobject)]
    taken = [stack.pop() for _ in before][::-1]
    if word in ("GLOBAL", "STACK_GLOBAL"):
        raw = argument.split(" ", 1) if word == "GLOBAL" else list(map(str, taken))
        name = Name(_today(*raw))
        name.raw = ".".join(raw)
        found.setdefault(name, InertGetter if name == "builtins.getattr" else Inert)
        stack.append(name)
    elif word in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
        if isinstance(taken[0], Name) and found[taken[0]] is not InertGetter:
            found[taken[0]] = InertList if word.startswith("APPEND") else InertDict
        stack.append(taken[0])
    elif word in ("REDUCE", "NEWOBJ", "BUILD"):
        if taken[0] == "torch._tensor._rebuild_from_type_v2" and isinstance(kind := taken[1][1], Name):
            found[kind] = InertTensor
        stack.append(taken[0])
    elif word.startswith("TUPLE"):
        stack.append(tuple(items or taken))
    elif code.stack_after == [pickletools.pyunicode]:
        stack.append(argument)
    else:
        stack += [each if each is pickletools.markobject else None for each in code.stack_after]


def _today(module: str, name: str) -> str:
    """The full name in Python 3 of what pickles call by its name in Python 2."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"


def shown(names: Iterable[str]) -> list[str]:
    """Those that are neither torch's parts of a tensor nor plain containers, as people know and can print them."""
    words = [name for name in names if not name.startswith(_PLAIN) or name.startswith("torch.nn.modules")]
    known = [f"os{name[name.index('.') :]}" if name.startswith(("posix.", "nt.")) else name for name in words]
    return ["".join(letter if letter.isprintable() else "?" for letter in name[:120]) for name in known]


def refusal(name: str) -> str:
    """What to say of a file that would call `name`, after the file."""
    return (
        f"is a Python pickle that tries to call '{name}'. Reading it would run that, so it is refused. If you trust its "
        "source, load it with its own program and save only the state_dict."
    )


def _load(file: BinaryIO, path: str, zipped: bool, kinds: Mapping[Name, type]) -> Any:
    if blocked := [name for name in kinds if name.split(".")[0] in _BLOCKED]:
        raise RefusedError(refusal(shown(blocked)[0]))
    # The very file that was opened, whatever stands at the path by now.
    place = _STDIN if os.path.exists(_STDIN) else path
    # torch knows fewer names of Python 2 than Python does, and takes no subclass of str.
    inert: list[Any] = [(kind, str(each)) for name, kind in kinds.items() for each in {name, name.raw}]
    with warnings.catch_warnings(), torch.serialization.safe_globals(inert):
        warnings.simplefilter("ignore")  # of protocols and of storages in old files
        try:
            return torch.load(place if zipped else file, map_location="cpu", weights_only=True, mmap=zipped)
        except Exception as error:  # torch raises what its parts raise
            if not zipped and re.search("magic number|operand", str(error)) and shown(kinds):
                raise RefusedError(refusal(shown(kinds)[0])) from None
            reason = " ".join(str(error).rpartition("WeightsUnpickler error: ")[2].split())[:120]
            advice = "Save it with torch.save's own pickle protocol" if "operand" in reason else "Fetch it again"
            raise RefusedError(
                f"is no file of tensors by torch.save, or a damaged one: torch cannot read it ({reason}). {advice}."
            ) from None


def _described(value: Any, size: int, inert: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    found = _Found()
    found.walk(value, ())
    if not found.tensors:
        raise RefusedError(f"holds no tensors by name, but {_held(value)}. Name a file with a state_dict.")
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


class _Found:
    """What a file holds, by its place in it.

    Attributes:
        tensors: by container and name, with `BETWEEN` between the two; a container's name is its keys with dots between.
        leftovers: of each container with tensors, {name: type} of what is no tensor.
        labels: names of classes by their place.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.leftovers: dict[str, dict[str, str]] = {}
        self.labels: dict[str, list[str]] = {}
        self.values = 0

    def walk(self, value: Any, path: tuple[str, ...]) -> None:
        """Look at `value`, which stands at `path`, and at all that is in it."""
        if isinstance(value, Inert):
            state = value.state if isinstance(value.state, Mapping) else {}
            value = _of_module(state) if "_modules" in state else state
        elif isinstance(value, list | tuple):
            value = {str(i): each for i, each in enumerate(value)} if not all(map(_plain, value)) else {}
        if not isinstance(value, Mapping) or len(path) > DEPTH:
            return
        self.values += len(value)
        if self.values > VALUES:
            raise RefusedError(f"holds more than {VALUES:,} values, which is more than any checkpoint needs.")
        named = {key: each for key, each in value.items() if isinstance(key, str)}
        place = ".".join(path).replace(BETWEEN, "?")
        own = {key: _plain_tensor(each) for key, each in named.items() if isinstance(each, Tensor) and _usable(each)}
        self.tensors |= {f"{place}{BETWEEN}{key}": tensor for key, tensor in own.items()}
        if own:
            self.leftovers[place] = {str(key): type(each).__name__ for key, each in value.items() if key not in own}
        for key, each in named.items():
            if key.lower() in CLASS_NAMES and (names := class_names(each)):
                self.labels[".".join((*path, key))] = names
            if key not in own and not _plain(each):
                self.walk(each, (*path, key))


def class_names(value: Any) -> list[str]:
    """The names in a list, or in a mapping from or to whole numbers that count from 0 without a gap; else none."""
    if isinstance(value, Inert):  # fastai's vocab and OmegaConf's lists
        state = value.state if isinstance(value.state, Mapping) else {}
        value = next((state[key] for key in ("items", "_content", "_val") if key in state), value.state)
        return class_names(value) if not isinstance(value, Inert) else []
    if isinstance(value, Mapping):
        pairs = list(value.items())
        if all(isinstance(key, str) and type(number) is int for key, number in pairs):
            pairs = [(number, key) for key, number in pairs]
        elif not all(type(key) is int or (isinstance(key, str) and key.isdecimal()) for key, _ in pairs):
            return []
        named = {int(key): name for key, name in pairs}
        value = [named.get(i) for i in range(len(pairs))]
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value):
        return [str(name) for name in value]
    return []


def _of_module(state: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """The tensors of a module that was pickled whole, by the names of its state_dict."""
    found: dict[str, Any] = {}
    for key in ("_parameters", "_buffers"):
        held = state.get(key)
        temporary = state.get("_non_persistent_buffers_set") or ()
        found |= {f"{prefix}{name}": each for name, each in (held.items() if isinstance(held, Mapping) else ())
                  if isinstance(each, Tensor) and name not in temporary}  # fmt: skip
    modules = state.get("_modules")
    for name, module in modules.items() if isinstance(modules, Mapping) and depth < 8 * DEPTH else ():
        if isinstance(module, Inert) and isinstance(module.state, Mapping):
            found |= _of_module(module.state, f"{prefix}{name}.", depth + 1)
    return found


def _usable(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.dtype in _TYPES and tensor.device.type == "cpu"


def _plain_tensor(tensor: Tensor) -> Tensor:
    return tensor.detach().as_subclass(Tensor)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes | int | float | complex)


def _held(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(str(key)[:40] for key in list(value)[:6])}" if value else "an empty dict"
    return f"a {type(value).__name__}"
