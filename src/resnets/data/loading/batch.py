"""A batch of training examples, and what is done to all tensors within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Images = Tensor | list[Tensor]  # (B, C, h, w), or B images (C, h, w) where their sizes differ


class Batch(NamedTuple):
    """Examples of one training step, of this rank.

    Attributes:
        epoch: from 0.
        step: within the epoch, from 0.
        indices: int64 (B,), of the examples in the dataset.
        positions: int64 (B,), in the order of the epoch, of all ranks together.
        images: uint8 as they are loaded, float32 once they are normalized.
        targets: what the task's `collate` makes of the B targets; None until they are looked up.
        weights: float32 (B,), of the loss of each example, with a mean of about 1; None until they are looked up.
    """

    epoch: int
    step: int
    indices: Tensor
    positions: Tensor
    images: Images
    targets: Any = None
    weights: Tensor | None = None

    def chunk(self, count: int) -> list[Batch]:
        """Up to `count` batches of about equal size, as of `torch.chunk`."""
        sizes = [len(part) for part in self.indices.chunk(count)]
        if len(sizes) == 1:
            return [self]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        return [
            self._replace(**{name: _part(getattr(self, name), end - size, end) for name in _PER_EXAMPLE})
            for size, end in zip(sizes, ends, strict=True)
        ]


_PER_EXAMPLE = ("indices", "positions", "images", "targets", "weights")


def _part(value: Any, start: int, end: int) -> Any:
    """The examples from `start` to `end` of tensors or lists, which may be in a tuple or a dictionary."""
    if isinstance(value, Tensor | list):
        return value[start:end]
    if isinstance(value, dict):
        return {key: _part(each, start, end) for key, each in value.items()}
    if isinstance(value, tuple):
        parts = [_part(each, start, end) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


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


def stack_images(images: Sequence[Tensor]) -> Images:
    """One tensor (B, C, h, w) of images of one size, else the list of them."""
    return torch.stack(list(images)) if len({image.shape for image in images}) == 1 else list(images)
