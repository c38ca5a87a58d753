"""A pickle of `torch.save` interpreted without effect: names become inert, tensors become sketches."""

from __future__ import annotations

import _compat_pickle
import io
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

PICKLE = 16 * 2**20  # bytes of one pickle; that of ResNet-152 has 150 kB

_WIDTHS = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
           "Bool": 1}  # fmt: skip
MOST_SIDES = 8  # of a tensor
MOST_COPIED = 1_000_000
_MODULES = ("torch", "torch.cuda", "torch.storage")


class RehearsalError(Exception):
    """The pickle is refused. `calls` is the full name of what it would call, when that is the reason."""

    def __init__(self, reason: str, calls: str = "") -> None:
        super().__init__(reason)
        self.calls = calls


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers of one kind under a name."""

    key: str
    kind: str
    numel: int


class Sketch:
    """What stands for a tensor."""

    __slots__ = ()


class Inert:
    """What a name of the pickle stands for. Without a `__dict__`, so nothing can be hung on it."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Callable[..., Any] | None = None) -> None:
        self.name = name
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        if self._make is None:
            raise RehearsalError(f"it calls '{self.name}', which is no function")
        return self._make(*arguments)


# The pure Python one: that in C reserves memory for any index that a pickle names, and its parts cannot be replaced.
class Rehearsal(pickle._Unpickler):
    """One pickle. After `load`, `storages` has the kind and count of each storage that it names."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]  # the arguments of the next instruction

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8", errors="strict")
        self.storages: dict[str, tuple[str, int]] = {}
        self.copied = 0

    def load(self) -> Any:
        """The value, with sketches for tensors.

        Raises:
            RehearsalError: it is none, is damaged, or names what a state dict does not need.
        """
        try:
            return super().load()
        except RehearsalError:
            raise
        except MemoryError:
            raise RehearsalError("its pickle asks for too much memory") from None
        except Exception as error:  # a damaged pickle may do anything to the interpreter's stack
            raise RehearsalError(f"its pickle cannot be read ({type(error).__name__})") from None

    def check(self, held: Mapping[str, int]) -> None:
        """Compare what the storages claim with the bytes that are there under each name.

        Raises:
            RehearsalError: a storage has another size than it claims.
        """
        for key, (kind, numel) in self.storages.items():
            if held.get(key) != (claimed := numel * width(kind)):
                raise RehearsalError(f"its storage '{_printable(key)}' has not the {claimed:,} bytes that it claims")

    def find_class(self, module: str, name: str) -> Inert:
        full = f"{module}.{name}"
        if module in _MODULES and name.endswith("Storage") and name.removesuffix("Storage") in _WIDTHS:
            return Inert(name.removesuffix("Storage"))
        if (make := _MAKERS.get(full)) is not None:
            return Inert(full, make(self))
        raise RehearsalError("it names what no state dict needs", _today(module, name))

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
            raise RehearsalError("a reference to a storage is none")
        _, kind, key, place, numel = pid[:5]
        if not isinstance(kind, Inert) or kind.name not in _WIDTHS or not isinstance(place, str):
            raise RehearsalError("a storage is of an unknown kind")
        if not isinstance(key, str) or not _count(numel) or numel * width(kind.name) >= 2**48:
            raise RehearsalError("a storage has no size that could be")
        if self.storages.setdefault(key, (kind.name, numel)) != (kind.name, numel):
            raise RehearsalError("a storage is described in two ways")
        return Storage(key, kind.name, numel)

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Sketch:
        """What `_rebuild_tensor_v2` is given; nothing outside the storage, and no number counted twice."""
        if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
            raise RehearsalError("a tensor is described by other things than a storage and sizes")
        if len(size) != len(stride) or len(size) > MOST_SIDES or not all(map(_count, (offset, *size, *stride))):
            raise RehearsalError("a tensor has no shape that could be")
        numel = math.prod(size)
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) if numel else 0
        if numel > storage.numel or last >= max(storage.numel, 1):
            raise RehearsalError(f"a tensor of shape {list(size)} is larger than its storage")
        return Sketch()

    def ordered(self, items: Any = ()) -> dict[Any, Any]:
        """An OrderedDict, which may carry the `_metadata` of a state dict."""
        if not isinstance(items, list | tuple):
            raise RehearsalError("a dict is made of something else than pairs")
        self._copy(items)
        result = _Ordered()
        for key, value in items:
            _key(key)
            result[key] = value
        return result

    def _copy(self, items: Any) -> None:
        """Count what an instruction copies: a few bytes may ask for one long list to be copied again and again."""
        self.copied += len(items) if isinstance(items, list | tuple | dict) else 1
        if self.copied > MOST_COPIED:
            raise RehearsalError(f"it copies more than {MOST_COPIED:,} values, which no state dict does")

    def _build(self) -> None:
        self._copy(self.stack[-1])
        pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]

    # Python's hash of large numbers and of tuples can be made to collide, and a dict of them to take hours.
    def _setitem(self) -> None:
        _key(self.stack[-2])
        pickle._Unpickler.load_setitem(self)  # type: ignore[attr-defined]

    def _setitems(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        pickle._Unpickler.load_setitems(self)  # type: ignore[attr-defined]

    def _dict(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        pickle._Unpickler.load_dict(self)  # type: ignore[attr-defined]

    def _no_set(self) -> None:
        raise RehearsalError("it holds a set, which no state dict does")

    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.SETITEM[0]] = _setitem
    dispatch[pickle.SETITEMS[0]] = _setitems
    dispatch[pickle.DICT[0]] = _dict
    dispatch[pickle.ADDITEMS[0]] = _no_set
    dispatch[pickle.FROZENSET[0]] = _no_set


def width(kind: str) -> int:
    """Bytes of one number."""
    return _WIDTHS[kind]


def _key(key: Any) -> None:
    if not isinstance(key, str | bytes) and not (isinstance(key, int) and abs(key) < 2**63):
        raise RehearsalError(f"a dict has a {type(key).__name__} as a key")


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _today(module: str, name: str) -> str:
    """The full name by which people know what pickles call by its name in Python 2 or on one system."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return _printable(f"{'os' if module in ('posix', 'nt') else module}.{name}")


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:120])


class _Ordered(dict[Any, Any]):
    """A dict that has attributes."""


def _parameter(data: Any, *rest: Any) -> Sketch:
    if not isinstance(data, Sketch):
        raise RehearsalError("a parameter holds no tensor")
    return data


def _size(items: Any = ()) -> tuple[int, ...]:
    if not isinstance(items, list | tuple) or len(items) > MOST_SIDES or not all(map(_count, items)):
        raise RehearsalError("a shape is none")
    return tuple(items)


# All that a state dict and the numbers beside it need.
_MAKERS: dict[str, Callable[[Rehearsal], Callable[..., Any] | None]] = {
    "collections.OrderedDict": lambda rehearsal: rehearsal.ordered,
    "torch._utils._rebuild_tensor_v2": lambda rehearsal: rehearsal.tensor,
    "torch._utils._rebuild_tensor": lambda rehearsal: rehearsal.tensor,
    "torch._utils._rebuild_parameter": lambda _: _parameter,
    "torch.Size": lambda _: _size,
    **{f"torch.{dtype}": lambda _: None for dtype in ("float16", "bfloat16", "float32", "float64", "int64")},
}
