"""Batches for evaluation: every image once, in order, read by threads."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import Tensor

from resnets.data.image.decode import DecodeError
from resnets.data.loading.batch import Images, stack_images
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError


class EvalLoader:
    """All images, each exactly once and in order, prepared by `load` (a Preprocess); kept in memory if they fit.

    Iterating yields (index of the first image, tensor (B, C, h, w)), or a list of images (C, h, w) where their sizes differ.

    Args:
        workers: threads, as in `ordered_map`. Sending images as floats from a process would take longer than to decode
            them: 734 flowers at 180 pixels took 1.7 s from one process and 0.7 s by two threads, on two cores.
        max_cache_bytes: memory that the kept images may take.
    """

    def __init__(
        self,
        paths: Sequence[str],
        load: Callable[[str], Tensor],
        *,
        batch_size: int,
        workers: int | None,
        max_cache_bytes: int,
    ) -> None:
        self.paths, self.load = paths, load
        self.batch_size, self.workers, self.max_cache_bytes = batch_size, workers, max_cache_bytes
        self._cache: list[Images] | None = None

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, Images]]:
        cache: list[Images] = []
        fits = True
        for first, images in self.iter_uncached() if self._cache is None else self._with_index(self._cache):
            fits = fits and _num_bytes(images) * len(self) <= self.max_cache_bytes
            if fits:
                cache.append(images)
            yield first, images
        if fits:
            self._cache = cache

    def iter_uncached(self) -> Iterator[tuple[int, Images]]:
        """The same, decoded now and not kept.

        Raises:
            JobError: an image cannot be read; it is named.
        """
        loaded = ordered_map(self.load, self.paths, workers=self.workers, ahead=2 * self.batch_size)
        try:
            yield from self._with_index(stack_images(batch) for batch in _batched(loaded, self.batch_size))
        except DecodeError as error:
            raise JobError(str(error)) from error

    def _with_index(self, batches: Iterable[Images]) -> Iterator[tuple[int, Images]]:
        for number, images in enumerate(batches):
            yield number * self.batch_size, images


def _batched(images: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    while batch := list(itertools.islice(images, size)):
        yield batch


def _num_bytes(images: Images) -> int:
    return sum(image.nbytes for image in images)
