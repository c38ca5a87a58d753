"""Batches for training and for evaluation.

The order of an epoch is a pure function of (seed, epoch), the augmentation of an image one of (seed, epoch, its position in
that order). So a run is the same with any number of worker processes, can be taken up again at any step, and an image that
comes several times in an epoch is augmented anew each time.
"""

from __future__ import annotations

import atexit
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from resnets import ranks
from resnets.data.image.decode import DecodeError
from resnets.data.loading import worker_processes as workers_
from resnets.data.loading.augmentation import as_tensor, fork_seed
from resnets.data.loading.epoch_order import BatchPlan, EpochStep
from resnets.data.loading.ram_cache import Images, LazyImages
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.loading.worker_processes import (
    Batch,
    check_queues,
    init_worker,
    kill_at_exit,
    kill_workers,
    map_batch,
    next_batch,
    share_memory,
)
from resnets.errors import JobError

Key = tuple[int, int, int, int]


class _BatchSampler(Sampler):
    """What each image of each batch is called when it is asked of a worker: epoch, step, position, number."""

    def __init__(self, plan: BatchPlan, start: EpochStep) -> None:
        self.plan, self.start = plan, start

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch, step, numbers in self.plan.batches(self.start):
            places = self.plan.positions(step).tolist()
            yield [(epoch, step, place, number) for place, number in zip(places, numbers.tolist(), strict=True)]


class _Varied(Dataset):
    def __init__(self, images: Images, vary: Callable[[Tensor], Tensor], seed: int) -> None:
        self.images, self.vary, self.seed = images, vary, seed

    def __getitems__(self, keys: list[Key]) -> list[tuple[Key, Tensor | DecodeError]]:
        found = zip(keys, self._read([number for *_, number in keys]), strict=True)
        return [(key, each if isinstance(each, DecodeError) else self._varied(key, each)) for key, each in found]

    def _read(self, numbers: list[int]) -> Iterator[np.ndarray | DecodeError]:
        if isinstance(self.images, LazyImages) and get_worker_info() is None:  # a worker is watched by the main process
            paths = [self.images.paths[number] for number in numbers]
            return ordered_map(partial(_or_error, self.images.prepare), paths, workers=0, ahead=0)
        return map(partial(_or_error, self.images.__getitem__), numbers)

    def _varied(self, key: Key, image: np.ndarray) -> Tensor:
        epoch, _, position, _ = key
        with fork_seed(self.seed, epoch, position):
            return self.vary(as_tensor(image))


def _or_error(read: Callable[[Any], np.ndarray], which: int | str) -> np.ndarray | DecodeError:
    try:
        return read(which)
    except DecodeError as error:
        return error


def _collate(items: list[tuple[Key, Tensor | DecodeError]]) -> Batch | str:
    for _, image in items:
        if not isinstance(image, Tensor):
            return str(image)  # an exception of its own kind would not survive the way back from a worker
    (epoch, step, _, _), _ = items[0]
    places, numbers = (torch.tensor([key[place] for key, _ in items]) for place in (2, 3))
    batch = Batch(epoch, step, numbers, places, torch.stack([each for _, each in items]))  # type: ignore[misc]
    return batch if get_worker_info() is None else share_memory(batch)


def train_batches(
    images: Images,
    plan: BatchPlan,
    vary: Callable[[Tensor], Tensor],
    *,
    start: EpochStep = EpochStep(),
    workers: int = 0,
    pinned: bool = False,
    on_wait: Callable[[], None] = lambda: None,
) -> Generator[Batch, None, None]:
    """Training batches of images that are varied one by one, from `start` to the end of the plan, if it has one;
    `pinned` in memory from which a GPU can copy while it computes. `waiting` is called now and then while no batch
    comes, and may raise to end that.

    Raises:
        JobError: an image that can no longer be read, named; a worker that has died, or is stuck.
    """
    ranks.timeout_seconds()  # so that a wrong one is refused before it is needed
    loader = DataLoader(
        _Varied(images, vary, plan.seed),
        batch_sampler=_BatchSampler(plan, start),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=init_worker,
        prefetch_factor=4 if workers else None,
        pin_memory=pinned,
        timeout=workers_.POLL_SECONDS if workers else 0,
        generator=torch.Generator(),  # without its own, the loader would draw from the run's random state
    )
    if workers:
        check_queues(workers)
    iterator: Any = iter(loader)
    started = list(iterator._workers) if workers else []
    # Batches that a program leaves open would else hang its end, since Python waits for the workers.
    end = partial(kill_at_exit, started, os.getpid())
    atexit.register(end)
    try:
        while True:
            batch = next_batch(iterator, on_wait)
            if batch is None:
                return
            if isinstance(batch, str):
                raise JobError(f"{batch} It could be read when the run began.")
            yield map_batch(batch, np.ndarray, torch.from_numpy)
    finally:
        atexit.unregister(end)
        if started:
            iterator._shutdown_workers()
            kill_workers(started, os.getpid())


def tensor_batches(images: Tensor, plan: BatchPlan, *, start: EpochStep = EpochStep()) -> Generator[Batch, None, None]:
    """Endless training batches out of one tensor (N, 3, h, w); they are varied as whole batches afterwards."""
    for epoch, step, numbers in plan.batches(start):
        yield Batch(epoch, step, numbers, plan.positions(step), images[numbers])


class EvalLoader:
    """All images, each exactly once and in order, as `load` (a Preprocess) makes them; kept in memory if they fit.

    Iterating gives (first number, tensor (B, C, h, w)).

    Args:
        workers: threads, as in `in_order`. On the way from a process to this one, images of floats would take longer than
            to decode: 734 flowers at 180 pixels took 1.7 s from one process and 0.7 s by two threads, on two cores.
        memory: bytes that the kept images may take.
    """

    def __init__(
        self, paths: Sequence[str], load: Callable[[str], Tensor], *, batch: int, workers: int | None, memory: int
    ) -> None:
        self.paths, self.load = paths, load
        self.batch, self.workers, self.memory = batch, workers, memory
        self._kept: list[Tensor] | None = None

    def __len__(self) -> int:
        return -(-len(self.paths) // self.batch)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        kept: list[Tensor] = []
        whole = True
        for first, images in self.iter_uncached() if self._kept is None else self._numbered(self._kept):
            whole = whole and images.nbytes * len(self) <= self.memory
            if whole:
                kept.append(images)
            yield first, images
        if whole:
            self._kept = kept

    def once(self) -> Iterator[tuple[int, Tensor]]:
        """The same, decoded now and kept nowhere.

        Raises:
            JobError: an image cannot be read; it is named.
        """
        loaded = ordered_map(self.load, self.paths, workers=self.workers, ahead=2 * self.batch)
        try:
            yield from self._numbered(torch.stack(batch) for batch in _batched(loaded, self.batch))
        except DecodeError as error:
            raise JobError(str(error)) from error

    def _numbered(self, batches: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
        for number, images in enumerate(batches):
            yield number * self.batch, images


def _batched(images: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    while batch := list(itertools.islice(images, size)):
        yield batch
