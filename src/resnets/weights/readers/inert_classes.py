"""Inert classes that replace classes and functions of other programs in a pickle: they keep the state and do nothing."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor


class Inert:
    """Replaces a class that is unknown to torch: it keeps the state and does nothing."""

    state: Any = None

    def __new__(cls, *arguments: Any, **_: Any) -> Any:
        instance = object.__new__(cls)
        instance.state = arguments[0] if len(arguments) == 1 else None
        return instance

    def __init__(self, *_: Any, **__: Any) -> None:
        """Nothing to do."""

    def __setstate__(self, state: Any) -> None:
        # With __slots__ the state is a pair of dicts.
        pair = isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict)
        self.state = {**(state[0] or {}), **state[1]} if pair and isinstance(state[0] or {}, dict) else state


class InertList(list[Any]):
    """Replaces a class whose objects are appended to, such as a deque."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return list.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """The state is dropped."""


class InertDict:
    """Replaces a class whose objects get keys, such as a defaultdict; torch sets keys of plain dicts only."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


class InertGetter:
    """Replaces `getattr`, by which a pickle finds a class within a class."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return Inert


class InertPartial:
    """Replaces `functools.partial`, with which protocols 2 and 3 make an object that has `__getnewargs_ex__`.

    Such a pickle makes the partial of `cls.__new__`, sets its state `(cls.__new__, (cls,), keywords, None)`, and calls it at
    once. torch calls only what it was given by name, so all partials are one object, `PARTIAL`, which remembers the inert class
    of the last state.
    """

    result: type = Inert

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return PARTIAL

    def __call__(self, *_: Any, **__: Any) -> Any:
        result, self.result = self.result, Inert
        return result()

    def __setstate__(self, state: Any) -> None:
        arguments = state[1] if isinstance(state, tuple) and len(state) > 1 else ()
        first = arguments[0] if isinstance(arguments, tuple) and arguments else None
        self.result = next((inert for inert in (InertList, InertDict) if first is inert), Inert)


PARTIAL: InertPartial = object.__new__(InertPartial)


class InertTensor(Tensor):
    """Replaces a tensor class that is not torch's own."""
