"""The order of the images in each epoch, and the batches that it is cut into.

The order of an epoch is a pure function of (seed, epoch), so that a run can be taken up again at any step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from resnets.data.loading.augmentation import derive_seed

WINDOW = 2000  # consecutive images of a stream that are shuffled among themselves


class EpochStep(NamedTuple):
    """Where in the run the first batch lies."""

    epoch: int = 0
    step: int = 0


def epoch_indices(
    count: int, *, seed: int, epoch: int, weights: Tensor | None = None, blocks: Sequence[int] | None = None
) -> Tensor:
    """The numbers of the images in this epoch's order; with `weights` (count,) drawn by them, with replacement.

    Of images that lie in files of `blocks` images each, the order is one in which they can be read as a stream: the
    files are shuffled, and then every WINDOW images of their sequence among themselves.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "order"))
    if weights is not None:
        return weighted_indices(weights, count, generator)
    if blocks is None:
        return torch.randperm(count, generator=generator)
    files = torch.arange(count).split(list(blocks))
    stream = torch.cat([files[number] for number in torch.randperm(len(files), generator=generator).tolist()])
    return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in stream.split(WINDOW)])


def weighted_indices(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` numbers of `weights` (N,), each as often as its weight says, with replacement: int64 (count,).

    `torch.multinomial` does not take more than 2**24 weights.
    """
    ends = weights.double().cumsum(0)
    chances = torch.rand(count, dtype=torch.float64, generator=generator) * ends[-1]
    return torch.searchsorted(ends, chances, right=True).clamp_(max=len(weights) - 1)


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The endless list of batches of a run; of several processes each takes its share of every batch."""

    count: int
    batch: int  # of all processes together
    seed: int
    weights: Tensor | None = None
    share: int = 0  # the number of the process that takes it
    shares: int = 1  # by which `batch` can be divided
    blocks: Sequence[int] | None = None  # how many images each file holds, where they are read as a stream

    @property
    def steps_per_epoch(self) -> int:
        """The images left over at the end of an epoch wait for the next one, which has another order."""
        return max(self.count // self.batch, 1)

    def epoch_indices(self, epoch: int) -> Tensor:
        """The numbers of the images in the order of an epoch."""
        return epoch_indices(self.count, seed=self.seed, epoch=epoch, weights=self.weights, blocks=self.blocks)

    def positions(self, step: int) -> Tensor:
        """Where this process's share of a batch stands in the order of the epoch."""
        whole = torch.arange(step * self.batch, min((step + 1) * self.batch, self.count))
        return whole.chunk(self.shares)[self.share]

    def batches(self, start: EpochStep) -> Iterator[tuple[int, int, Tensor]]:
        for epoch in itertools.count(start.epoch):
            numbers = self.epoch_indices(epoch)
            for step in range(start.step if epoch == start.epoch else 0, self.steps_per_epoch):
                whole = numbers[step * self.batch : (step + 1) * self.batch]
                yield epoch, step, whole.chunk(self.shares)[self.share]
