"""Batches for training and for evaluation.

The order of an epoch is a pure function of (seed, epoch), the augmentation of an image one of (seed, epoch, its position in
that order). So a run is the same with any number of worker processes, can be taken up again at any step, and an image that
comes several times in an epoch is augmented anew each time.
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from resnets import processes
from resnets.data.augment import as_tensor, seed_of, seeded
from resnets.data.cache import Decoded, Pictures
from resnets.data.decode import DecodeError
from resnets.data.parallel import in_order
from resnets.errors import JobError

POLL_SECONDS = 5.0  # of waiting for a batch, after which it is looked whether to wait on
END_SECONDS = 5.0  # for a killed process to end; one that the kernel holds in a read of a lost disk does not
DIED = (
    "A process that prepares images was killed or has ended; memory may be short. Use fewer `workers`, or `workers=0`."
)

WINDOW = 2000  # consecutive pictures of a stream that are shuffled among themselves


Key = tuple[int, int, int, int]


class Batch(NamedTuple):
    epoch: int  # from 0
    step: int  # within the epoch, from 0
    indices: Tensor  # (B,) numbers of the pictures
    positions: Tensor  # (B,) in the order of the epoch, of all processes together
    pictures: Tensor  # (B, 3, h, w) uint8


class Place(NamedTuple):
    """Where in the run the first batch lies."""

    epoch: int = 0
    step: int = 0


def order(
    count: int, *, seed: int, epoch: int, weights: Tensor | None = None, blocks: Sequence[int] | None = None
) -> Tensor:
    """The numbers of the pictures in this epoch's order; with `weights` (count,) drawn by them, with replacement.

    Of pictures that lie in files of `blocks` pictures each, the order is one in which they can be read as a stream: the
    files are shuffled, and then every WINDOW pictures of their sequence among themselves.
    """
    generator = torch.Generator().manual_seed(seed_of(seed, epoch, "order"))
    if weights is not None:
        return drawn(weights, count, generator)
    if blocks is None:
        return torch.randperm(count, generator=generator)
    files = torch.arange(count).split(list(blocks))
    stream = torch.cat([files[number] for number in torch.randperm(len(files), generator=generator).tolist()])
    return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in stream.split(WINDOW)])


def drawn(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` numbers of `weights` (N,), each as often as its weight says, with replacement: int64 (count,).

    `torch.multinomial` does not take more than 2**24 weights.
    """
    ends = weights.double().cumsum(0)
    chances = torch.rand(count, dtype=torch.float64, generator=generator) * ends[-1]
    return torch.searchsorted(ends, chances, right=True).clamp_(max=len(weights) - 1)


@dataclass(frozen=True, eq=False)
class Plan:
    """The endless list of batches of a run; of several processes each takes its share of every batch."""

    count: int
    batch: int  # of all processes together
    seed: int
    weights: Tensor | None = None
    share: int = 0  # the number of the process that takes it
    shares: int = 1  # by which `batch` can be divided
    blocks: Sequence[int] | None = None  # how many pictures each file holds, where they are read as a stream

    @property
    def steps_per_epoch(self) -> int:
        """The pictures left over at the end of an epoch wait for the next one, which has another order."""
        return max(self.count // self.batch, 1)

    def order(self, epoch: int) -> Tensor:
        """The numbers of the images in the order of an epoch."""
        return order(self.count, seed=self.seed, epoch=epoch, weights=self.weights, blocks=self.blocks)

    def positions(self, step: int) -> Tensor:
        """Where this process's share of a batch stands in the order of the epoch."""
        whole = torch.arange(step * self.batch, min((step + 1) * self.batch, self.count))
        return whole.chunk(self.shares)[self.share]

    def batches(self, start: Place) -> Iterator[tuple[int, int, Tensor]]:
        for epoch in itertools.count(start.epoch):
            numbers = self.order(epoch)
            for step in range(start.step if epoch == start.epoch else 0, self.steps_per_epoch):
                whole = numbers[step * self.batch : (step + 1) * self.batch]
                yield epoch, step, whole.chunk(self.shares)[self.share]


class _Keys(Sampler):
    """What each image of each batch is called when it is asked of a worker: epoch, step, position, number."""

    def __init__(self, plan: Plan, start: Place) -> None:
        self.plan, self.start = plan, start

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch, step, numbers in self.plan.batches(self.start):
            places = self.plan.positions(step).tolist()
            yield [(epoch, step, place, number) for place, number in zip(places, numbers.tolist(), strict=True)]


class _Varied(Dataset):
    def __init__(self, pictures: Pictures, vary: Callable[[Tensor], Tensor], seed: int) -> None:
        self.pictures, self.vary, self.seed = pictures, vary, seed

    def __getitems__(self, keys: list[Key]) -> list[tuple[Key, Tensor | DecodeError]]:
        found = zip(keys, self._read([number for *_, number in keys]), strict=True)
        return [(key, each if isinstance(each, DecodeError) else self._varied(key, each)) for key, each in found]

    def _read(self, numbers: list[int]) -> Iterator[np.ndarray | DecodeError]:
        if (
            isinstance(self.pictures, Decoded) and get_worker_info() is None
        ):  # else the main process minds how long it takes
            paths = [self.pictures.paths[number] for number in numbers]
            return in_order(partial(_or_error, self.pictures.prepare), paths, workers=0, ahead=0)
        return map(partial(_or_error, self.pictures.__getitem__), numbers)

    def _varied(self, key: Key, picture: np.ndarray) -> Tensor:
        epoch, _, position, _ = key
        with seeded(self.seed, epoch, position):
            return self.vary(as_tensor(picture))


def _or_error(read: Callable[[Any], np.ndarray], which: int | str) -> np.ndarray | DecodeError:
    try:
        return read(which)
    except DecodeError as error:
        return error


def _collate(items: list[tuple[Key, Tensor | DecodeError]]) -> Batch | str:
    for _, picture in items:
        if not isinstance(picture, Tensor):
            return str(picture)  # an exception of its own kind would not survive the way back from a worker
    (epoch, step, _, _), _ = items[0]
    places, numbers = (torch.tensor([key[place] for key, _ in items]) for place in (2, 3))
    batch = Batch(epoch, step, numbers, places, torch.stack([each for _, each in items]))  # type: ignore[misc]
    return batch if get_worker_info() is None else _portable(batch)


def _portable(batch: Batch) -> Batch:
    """The batch as it travels from a worker: its images in shared memory, or as an array through a pipe where that is full.

    Shared here and not by the queue, whose thread would print the error, drop the batch, and leave the main process waiting.
    """
    try:
        for tensor in batch[2:]:
            tensor.share_memory_()
    except (RuntimeError, OSError):
        return _each(batch, Tensor, lambda tensor: tensor.numpy())
    return batch


def _each(batch: Batch, kind: type, change: Callable[[Any], Any]) -> Batch:
    return Batch(*(change(each) if isinstance(each, kind) else each for each in batch))  # type: ignore[arg-type]


def _start_worker(_: int) -> None:
    processes.ignore_image_remarks()
    torch.set_num_threads(1)  # the cores are shared out by the number of workers
    # Ctrl-C, and the SIGTERM of many job managers, reach the whole group; the main process ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def varied(
    pictures: Pictures,
    plan: Plan,
    vary: Callable[[Tensor], Tensor],
    *,
    start: Place = Place(),
    workers: int = 0,
    pinned: bool = False,
    waiting: Callable[[], None] = lambda: None,
) -> Generator[Batch, None, None]:
    """Training batches of pictures that are varied one by one, from `start` to the end of the plan, if it has one;
    `pinned` in memory from which a GPU can copy while it computes. `waiting` is called now and then while no batch
    comes, and may raise to end that.

    Raises:
        JobError: a picture that can no longer be read, named; a worker that has died, or is stuck.
    """
    processes.patience()  # so that a wrong one is refused before it is needed
    loader = DataLoader(
        _Varied(pictures, vary, plan.seed),
        batch_sampler=_Keys(plan, start),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        prefetch_factor=4 if workers else None,
        pin_memory=pinned,
        timeout=POLL_SECONDS if workers else 0,
        generator=torch.Generator(),  # without its own, the loader would draw from the run's random state
    )
    if workers:
        _check_queues(workers)
    others = multiprocessing.active_children()
    iterator: Any = iter(loader)
    started = [each for each in multiprocessing.active_children() if each not in others]
    # Batches that a program leaves open would else hang its end, since Python waits for the workers.
    kill = partial(_kill, started, os.getpid())
    atexit.register(kill)
    try:
        while True:
            batch = _next(iterator, waiting)
            if batch is None:
                return
            if isinstance(batch, str):
                raise JobError(f"{batch} It could be read when the run began.")
            yield _each(batch, np.ndarray, torch.from_numpy)
    finally:
        atexit.unregister(kill)
        if started:
            iterator._shutdown_workers()
            kill()


def _check_queues(workers: int) -> None:
    """Make the queues that torch will make, whose locks take shared memory; torch's loader would print a traceback.

    Raises:
        JobError: there is no room for them.
    """
    try:
        queues: list[Any] = [multiprocessing.Queue() for _ in range(workers + 2)]
        for queue in queues:
            queue.close()
    except OSError as error:
        raise JobError(
            f"No process that prepares images can be started: {error.strerror} (the shared memory of this machine, /dev/shm, or "
            "the number of open files). Use `workers=0`."
        ) from error


class WorkerError(JobError):
    """The processes that prepare images have died, or give none any more."""


def _next(iterator: Iterator[Batch | str], waiting: Callable[[], None]) -> Batch | str | None:
    """The next batch, for which `waiting` is called every few seconds; None at the end of a plan that ends.

    Raises:
        JobError: none has come for the patience of this process.
    """
    begun = time.monotonic()
    while True:
        try:
            return next(iterator, None)
        except (EOFError, ConnectionError, FileNotFoundError) as error:
            if "DataLoader worker" in str(error):  # raised within the worker, by its work
                raise
            raise WorkerError(DIED) from error  # it died while a batch was fetched from it
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise WorkerError(DIED) if died(error) else error from error
            waiting()
            if time.monotonic() - begun > processes.patience():
                raise WorkerError(
                    f"No images have come for {processes.patience() / 60:g} minutes: a process that prepares them is stuck, "
                    "perhaps on storage that does not answer. Use fewer `workers`, or set RESNETS_TIMEOUT_MINUTES to wait longer."
                ) from error


def died(error: BaseException) -> bool:
    """Whether it is torch's word that a worker has ended before its time; it comes at any moment, from a signal handler."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)


def _kill(workers: Sequence[Any], owner: int) -> None:
    """End the worker processes, also one that does not listen, such as in a read that never ends.

    torch sends SIGTERM, which they ignore, and Python would wait for them at its end.

    Args:
        owner: the process that started them; of a forked one they are no children.
    """
    for worker in workers if os.getpid() == owner else ():
        if worker.is_alive():
            worker.kill()
            worker.join(END_SECONDS)


def stacked(pictures: Tensor, plan: Plan, *, start: Place = Place()) -> Generator[Batch, None, None]:
    """Endless training batches out of one tensor (N, 3, h, w); they are varied as whole batches afterwards."""
    for epoch, step, numbers in plan.batches(start):
        yield Batch(epoch, step, numbers, plan.positions(step), pictures[numbers])


class Evaluation:
    """All pictures, each exactly once and in order, as `load` (a Preprocess) makes them; kept in memory if they fit.

    Iterating gives (first number, tensor (B, C, h, w)).

    Args:
        workers: threads, as in `in_order`. On the way from a process to this one, pictures of floats would take longer than
            to decode: 734 flowers at 180 pixels took 1.7 s from one process and 0.7 s by two threads, on two cores.
        memory: bytes that the kept pictures may take.
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
        for first, pictures in self.once() if self._kept is None else self._numbered(self._kept):
            whole = whole and pictures.nbytes * len(self) <= self.memory
            if whole:
                kept.append(pictures)
            yield first, pictures
        if whole:
            self._kept = kept

    def once(self) -> Iterator[tuple[int, Tensor]]:
        """The same, decoded now and kept nowhere.

        Raises:
            JobError: a picture cannot be read; it is named.
        """
        loaded = in_order(self.load, self.paths, workers=self.workers, ahead=2 * self.batch)
        try:
            yield from self._numbered(torch.stack(batch) for batch in _batched(loaded, self.batch))
        except DecodeError as error:
            raise JobError(str(error)) from error

    def _numbered(self, batches: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
        for number, pictures in enumerate(batches):
            yield number * self.batch, pictures


def _batched(pictures: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    while batch := list(itertools.islice(pictures, size)):
        yield batch
