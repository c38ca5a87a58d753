"""Change or cut all tensors within lists, tuples and dictionaries, such as the outputs of a network or the targets of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def map_tensors(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to everything of type `kind` within its lists, tuples and dictionaries."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: map_tensors(each, kind, change) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(each, kind, change) for each in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(each, kind, change) for each in value)
    return value


def slice_examples(value: Any, start: int, end: int) -> Any:
    """The examples from `start` to `end` of tensors or lists, which may be in a tuple or a dictionary."""
    if isinstance(value, Tensor | list):
        return value[start:end]
    if isinstance(value, dict):
        return {key: slice_examples(each, start, end) for key, each in value.items()}
    if isinstance(value, tuple):
        parts = [slice_examples(each, start, end) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
