"""Batches for evaluation: every image once, in order, read by threads."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from resnets.data.image.decode import DecodeError
from resnets.data.image.placement import Placement
from resnets.data.loading.batch import Images, stack_images
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError


class EvalBatch(NamedTuple):
    """B prepared images: the index of the first one, the images, and where each lies in its input."""

    first: int
    images: Images
    placements: Sequence[Placement]


class EvalLoader:
    """All images, each exactly once and in order, prepared by `load` (`Preprocess.load_placed`); kept in memory if they fit.

    Iterating yields an `EvalBatch`, whose images are a list of tensors (C, h, w) where their sizes differ.

    Args:
        workers: threads, as in `ordered_map`. Sending images as floats from a process would take longer than to decode
            them: 734 flowers at 180 pixels took 1.7 s from one process and 0.7 s by two threads, on two cores.
        max_cache_bytes: memory that the kept images may take.
    """

    def __init__(
        self,
        paths: Sequence[str],
        load: Callable[[str], tuple[Tensor, Placement]],
        *,
        batch_size: int,
        workers: int | None,
        max_cache_bytes: int,
    ) -> None:
        self.paths, self.load = paths, load
        self.batch_size, self.workers, self.max_cache_bytes = batch_size, workers, max_cache_bytes
        self._cache: list[EvalBatch] | None = None

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch_size)

    def __iter__(self) -> Iterator[EvalBatch]:
        cache: list[EvalBatch] = []
        fits = True
        for batch in self.iter_uncached() if self._cache is None else self._cache:
            fits = fits and _num_bytes(batch.images) * len(self) <= self.max_cache_bytes
            if fits:
                cache.append(batch)
            yield batch
        if fits:
            self._cache = cache

    def iter_uncached(self) -> Iterator[EvalBatch]:
        """The same, decoded now and not kept.

        Raises:
            JobError: an image cannot be read; it is named.
        """
        loaded = ordered_map(self.load, self.paths, workers=self.workers, ahead=2 * self.batch_size)
        try:
            for number, batch in enumerate(_batched(loaded, self.batch_size)):
                images, placements = zip(*batch, strict=True)
                yield EvalBatch(number * self.batch_size, stack_images(images), placements)
        except DecodeError as error:
            raise JobError(str(error)) from error


def _batched(images: Iterator[tuple[Tensor, Placement]], size: int) -> Iterator[list[tuple[Tensor, Placement]]]:
    while batch := list(itertools.islice(images, size)):
        yield batch


def _num_bytes(images: Images) -> int:
    return sum(image.nbytes for image in images)
