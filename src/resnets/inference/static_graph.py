"""What a backend computes of a model, and what runs beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from resnets.nested_tensors import map_tensors


@dataclass(frozen=True)
class Agreement:
    """How close the outputs of a backend are to those of the reference."""

    images: int  # number of images compared
    difference: float  # the largest difference, in the unit of the task's outputs, such as a probability or pixels
    text: str  # the same in words, for a log line
    details: Mapping[str, float] = field(default_factory=dict)  # further numbers, for JSON
    quantity: str = "an output"  # what `difference` is one of, such as "a probability"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class StaticGraph:
    """A model as two parts."""

    model: nn.Module  # the whole model; the reference calls it, with any hooks that it has
    # Images (n, C, h, w) -> a tensor, or a tuple of tensors, with first dimension n. Its operations do not depend on the
    # values, so a backend can compile it, in bf16 too. It is in the model, and shares its tensors.
    static: nn.Module
    # From what `static` returns, in float32, to the outputs of `model`, which may be lists of dictionaries of tensors; it
    # runs in torch, in float32.
    finish: Callable[[Any], Any]
    # (outputs, those of the reference) -> how close they are; both on the model's device.
    compare: Callable[[Any, Any], Agreement]
    tolerance: Mapping[str, float]  # the largest accepted `Agreement.difference`, by precision ("fp32", "bf16")
    # Height and width of images -> how many of them the task computes together at most; it divides larger batches. None: any.
    largest_batch: Callable[[int, int], int] | None = None
    # Whether fp32 means the model itself. Otherwise a backend within `tolerance` of it may compute long jobs in fp32, of
    # evaluations too.
    exact: bool = True


def to_float(outputs: Any) -> Any:
    """The same with all floating-point tensors in float32."""
    return map_tensors(outputs, Tensor, lambda each: each.float() if each.is_floating_point() else each)


def concatenate(parts: Sequence[Any]) -> Any:
    """The outputs of several batches as those of one: tensors along the first dimension and lists one after the other, which may
    be in tuples and dictionaries.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, list):
        return [each for part in parts for each in part]
    if isinstance(first, dict):
        return {key: concatenate([part[key] for part in parts]) for key in first}
    fields = [concatenate(values) for values in zip(*parts, strict=True)]
    return type(first)(*fields) if hasattr(first, "_fields") else tuple(fields)


def static_part(graph: StaticGraph) -> StaticGraph:
    """The static part of `graph` as a model of its own; how close its outputs are is that of what `finish` makes of them."""

    def compare(outputs: Any, reference: Any) -> Agreement:
        return graph.compare(graph.finish(outputs), graph.finish(reference))

    return replace(graph, model=graph.static, finish=lambda outputs: outputs, compare=compare)
