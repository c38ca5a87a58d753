"""The content of a file of `torch.save`: tensors by container and name, class names, and what is neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from resnets.weights.readers.errors import RefusedError

DEPTH = 12  # of containers in containers
VALUES = 2_000_000  # in all containers together
BETWEEN = "\0"
CLASS_NAMES = ("class_to_idx", "class_names", "classes", "class_list", "classnames", "categories", "idx_to_class", "id2label",
               "label2id", "label_names", "labels", "idx2label", "vocab", "names")  # fmt: skip

_WEIGHTS = ("weight", "bias")
_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
          torch.uint8, torch.bool)  # fmt: skip


class Inert:
    """In place of every object of another program: it keeps what the pickle gives it, and does nothing."""

    dump_patches = False  # torch asks for it if the file holds source code

    def __new__(cls, *arguments: Any, **_: Any) -> Inert:
        instance = object.__new__(cls)
        instance.state = arguments[0] if len(arguments) == 1 else None
        instance.elements, instance.entries = [], {}
        return instance

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any
        self.elements: list[Any]
        self.entries: dict[Any, Any]

    def __call__(self, *arguments: Any, **_: Any) -> Inert:
        return Inert(*arguments)

    def __setstate__(self, state: Any) -> None:
        # With __slots__ the state is a pair of dicts.
        pair = isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict)
        self.state = {**(state[0] or {}), **state[1]} if pair and isinstance(state[0] or {}, dict) else state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, value: Any) -> None:
        """Keep an element of a list or set."""
        self.elements.append(value)

    add = append

    def content(self) -> Any:
        """Its entries as a dict, its elements as a list, or else its state."""
        return self.entries or self.elements or self.state


class Contents:
    """The content of a file, by container.

    Attributes:
        tensors: by container and name, joined by `BETWEEN`; the name of a container is its keys joined by dots.
        leftovers: for each container with tensors, {name: type} of the values that are not tensors.
        labels: class names, by the keys that they are stored under.
        unread: for each container with weights that are not plain numbers, the name of one of them and what it is.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.leftovers: dict[str, dict[str, str]] = {}
        self.labels: dict[str, list[str]] = {}
        self.unread: dict[str, tuple[str, str]] = {}
        self.values = 0

    def walk(self, value: Any, path: tuple[str, ...]) -> None:
        """Collect `value`, which is stored under the keys `path`, and everything in it."""
        if isinstance(value, Inert):
            value = value.content()
            value = _of_module(value) if isinstance(value, Mapping) and "_modules" in value else value
        if isinstance(value, list | tuple):
            value = {str(i): each for i, each in enumerate(value)} if not all(map(_plain, value)) else {}
        if not isinstance(value, Mapping) or len(path) > DEPTH:
            return
        self.values += len(value)
        if self.values > VALUES:
            raise RefusedError(f"holds more than {VALUES:,} values, more than any checkpoint needs.")
        named = {key: each for key, each in value.items() if isinstance(key, str)}
        container = ".".join(path).replace(BETWEEN, "?")
        tensors = {key: each for key, each in named.items() if isinstance(each, Tensor)}
        own = {key: each.detach() for key, each in tensors.items() if not why_unreadable(each)}
        unread = [
            (key, why) for key, each in tensors.items() if (why := why_unreadable(each)) and key.endswith(_WEIGHTS)
        ]
        self.unread |= {container: unread[0]} if unread else {}
        self.tensors |= {f"{container}{BETWEEN}{key}": tensor for key, tensor in own.items()}
        if own:
            self.leftovers[container] = {str(key): type(each).__name__ for key, each in value.items() if key not in own}
        for key, each in named.items():
            if key.lower() in CLASS_NAMES and (names := class_names(each)):
                self.labels[".".join((*path, key))] = names
            if key not in own and not _plain(each):
                self.walk(each, (*path, key))


def class_names(value: Any) -> list[str]:
    """The names in a list, or in a mapping from or to integers that count from 0 without gaps; else an empty list."""
    if isinstance(value, Inert):  # fastai's vocab and OmegaConf's lists
        state = value.content()
        keys = ("items", "_content", "_val") if isinstance(state, Mapping) else ()
        value = next((state[key] for key in keys if key in state), state)
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
        if isinstance(module, Inert) and isinstance(module.content(), Mapping):
            found |= _of_module(module.content(), f"{prefix}{name}.", depth + 1)
    return found


def why_unreadable(tensor: Tensor) -> str:
    """Why a tensor cannot be read, and how to make a plain one of it; empty for tensors that can be read."""
    if tensor.device.type != "cpu":
        return f"has no values (device '{tensor.device}'); save the tensor of the loaded network"
    if tensor.is_quantized:
        return "is quantized; save tensor.dequantize()"
    if tensor.layout is not torch.strided:
        return f"is sparse ({tensor.layout}); save tensor.to_dense()"
    return "" if tensor.dtype in _TYPES else f"is of type {tensor.dtype}; save tensor.float()"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bytes | int | float | complex)


def describe_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(str(key)[:40] for key in list(value)[:6])}" if value else "an empty dict"
    return f"an object of the class '{type(value).__name__}'"
