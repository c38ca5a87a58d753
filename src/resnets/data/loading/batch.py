"""A batch of training examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resnets.nested_tensors import slice_examples

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
        seeds: of what a loss draws for each example, such as samples of proposals: B functions of the run's seed, the epoch and
            the position, so that neither ranks nor micro-batches change them; None until they are looked up.
    """

    epoch: int
    step: int
    indices: Tensor
    positions: Tensor
    images: Images
    targets: Any = None
    weights: Tensor | None = None
    seeds: list[int] | None = None

    def chunk(self, count: int) -> list[Batch]:
        """Up to `count` batches of about equal size, as of `torch.chunk`."""
        sizes = [len(part) for part in self.indices.chunk(count)]
        if len(sizes) == 1:
            return [self]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        return [
            self._replace(**{name: slice_examples(getattr(self, name), end - size, end) for name in _PER_EXAMPLE})
            for size, end in zip(sizes, ends, strict=True)
        ]


_PER_EXAMPLE = ("indices", "positions", "images", "targets", "weights", "seeds")


def stack_images(images: Sequence[Tensor]) -> Images:
    """One tensor (B, C, h, w) of images of one size, else the list of them."""
    return torch.stack(list(images)) if len({image.shape for image in images}) == 1 else list(images)
