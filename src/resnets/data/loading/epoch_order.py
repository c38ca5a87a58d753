"""The order of the images in each epoch, and the batches that it is cut into.

The order of an epoch is a pure function of (seed, epoch), so that a run can be resumed at any step.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from resnets.data.loading.augmentation import derive_seed

SHUFFLE_WINDOW = 2000  # consecutive images of a stream that are shuffled among themselves


class EpochStep(NamedTuple):
    """A position in the run: the step of an epoch, both from 0."""

    epoch: int = 0
    step: int = 0


def epoch_indices(
    num_images: int, *, seed: int, epoch: int, weights: Tensor | None = None, shard_sizes: Sequence[int] | None = None
) -> Tensor:
    """The indices of the images in the order of an epoch: int64 (num_images,).

    Args:
        weights: (num_images,); the indices are then sampled in proportion to them, with replacement.
        shard_sizes: the number of images in each file, for images that are read as a stream. The files are shuffled, and
            then every SHUFFLE_WINDOW images of their sequence among themselves.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch, "order"))
    if weights is not None:
        return sample_indices(weights, num_images, generator)
    if shard_sizes is None:
        return torch.randperm(num_images, generator=generator)
    shards = torch.arange(num_images).split(list(shard_sizes))
    stream = torch.cat([shards[index] for index in torch.randperm(len(shards), generator=generator).tolist()])
    windows = stream.split(SHUFFLE_WINDOW)
    return torch.cat([window[torch.randperm(len(window), generator=generator)] for window in windows])


def sample_indices(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` indices into `weights` (N,), sampled in proportion to them, with replacement: int64 (count,).

    As `torch.multinomial`, which does not take more than 2**24 weights.
    """
    ends = weights.double().cumsum(0)
    points = torch.rand(count, dtype=torch.float64, generator=generator) * ends[-1]
    return torch.searchsorted(ends, points, right=True).clamp_(max=len(weights) - 1)


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The endless sequence of batches of a run; with several ranks, each takes an equal part of every batch, its local batch."""

    num_images: int
    batch_size: int  # of all ranks together
    seed: int
    weights: Tensor | None = None
    rank: int = 0
    world_size: int = 1  # which divides `batch_size`
    shard_sizes: Sequence[int] | None = None  # as in `epoch_indices`

    @property
    def steps_per_epoch(self) -> int:
        """The last incomplete batch of an epoch is dropped (`drop_last=True`), unless it is the only one."""
        return max(self.num_images // self.batch_size, 1)

    def epoch_indices(self, epoch: int) -> Tensor:
        """The indices of the images in the order of an epoch."""
        return epoch_indices(
            self.num_images, seed=self.seed, epoch=epoch, weights=self.weights, shard_sizes=self.shard_sizes
        )

    def positions(self, step: int) -> Tensor:
        """The positions of this rank's local batch in the order of the epoch."""
        batch = torch.arange(step * self.batch_size, min((step + 1) * self.batch_size, self.num_images))
        return batch.chunk(self.world_size)[self.rank]

    def batches(self, start: EpochStep) -> Iterator[tuple[int, int, Tensor]]:
        """(epoch, step, indices of this rank's images) from `start` on."""
        for epoch in itertools.count(start.epoch):
            indices = self.epoch_indices(epoch)
            for step in range(start.step if epoch == start.epoch else 0, self.steps_per_epoch):
                batch = indices[step * self.batch_size : (step + 1) * self.batch_size]
                yield epoch, step, batch.chunk(self.world_size)[self.rank]
