"""Batches for training, in worker processes or in this process; `watch_workers.py` has what runs in and around the workers.

The order of an epoch is a pure function of (seed, epoch), and the augmentation of an image one of (seed, epoch, its position
in that order). So a run is the same with any number of worker processes, it can be resumed at any step, and an image that
comes several times in an epoch is augmented again each time.
"""

import atexit
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info
from torchvision import tv_tensors

from resnets.data.image.decode import DecodeError
from resnets.data.loading import watch_workers
from resnets.data.loading.augmentation import as_tensor, fork_seed
from resnets.data.loading.batch import Batch, stack_images
from resnets.data.loading.epoch_order import BatchPlan, EpochStep
from resnets.data.loading.ram_cache import Images, LazyImages
from resnets.data.loading.scheduled_augmentation import Key, ScheduledAugmentation
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.loading.watch_workers import (
    check_queues,
    init_worker,
    kill_at_exit,
    kill_workers,
    next_batch,
    share_memory,
)
from resnets.errors import JobError
from resnets.nested_tensors import map_tensors
from resnets.timeout import timeout_seconds


class _BatchSampler(Sampler):
    """The keys of the images of each batch. `pending` has those of the batches that were requested and not yet received."""

    def __init__(self, plan: BatchPlan, start: EpochStep) -> None:
        self.plan, self.start = plan, start
        self.pending: deque[list[Key]] = deque()

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch, step, indices in self.plan.batches(self.start):
            positions = self.plan.positions(step).tolist()
            keys = [Key(epoch, step, *each) for each in zip(positions, indices.tolist(), strict=True)]
            self.pending.append(keys)
            yield keys


class Targets(NamedTuple):
    """Targets that are augmented together with their images.

    of_index: the target of each example of the dataset, which the transform receives beside the image.
    collate: from the targets of a batch, transformed, to those of `Batch`.
    """

    of_index: Sequence[Any] | Tensor
    collate: Callable[[list[Any]], Any]


class _AugmentedImages(Dataset):
    """Examples by key: images augmented with random numbers that depend on the key, and their targets."""

    def __init__(
        self,
        images: Images,
        transform: Callable[..., Any],
        targets: Targets | None,
        seed: int,
        scheduled: ScheduledAugmentation | None = None,
    ) -> None:
        self.images, self.transform, self.targets, self.seed = images, transform, targets, seed
        self.scheduled = scheduled

    def indices(self, key: Key) -> tuple[int, ...]:
        """Of the images that an example is made of."""
        return (key.image,) if self.scheduled is None else self.scheduled.indices(key)

    def __getitems__(self, keys: list[Key]) -> list[tuple[Key, Any]]:
        indices = [self.indices(key) for key in keys]
        images = iter(self._read([index for each in indices for index in each]))
        return [
            (key, self._example(key, each, [next(images) for _ in each]))
            for key, each in zip(keys, indices, strict=True)
        ]

    def _read(self, indices: list[int]) -> Iterator[np.ndarray | DecodeError]:
        # The main process watches the time of its workers; here a thread does the reading so that it can be watched.
        if isinstance(self.images, LazyImages) and get_worker_info() is None:
            paths = [self.images.paths[index] for index in indices]
            return ordered_map(partial(_return_error, self.images.prepare), paths, workers=0, ahead=0)
        return map(partial(_return_error, self.images.__getitem__), indices)

    def _example(
        self, key: Key, indices: Sequence[int], images: Sequence[np.ndarray | DecodeError]
    ) -> tuple[Tensor, Any] | DecodeError:
        transform = self.transform if self.scheduled is None else self.scheduled.transform(key)
        examples: list[tuple[Tensor, Any]] = []
        with fork_seed(self.seed, key.epoch, key.position):
            for index, image in zip(indices, images, strict=True):
                if isinstance(image, DecodeError):
                    return image
                examples.append(self._augment(transform, index, image))
        return examples[0] if self.scheduled is None else self.scheduled.join(key, examples)

    def _augment(self, transform: Callable[..., Any], index: int, image: np.ndarray) -> tuple[Tensor, Any]:
        if self.targets is None:
            return transform(as_tensor(image)), None
        augmented: tuple[Tensor, Any] = transform(tv_tensors.Image(as_tensor(image)), self.targets.of_index[index])
        return augmented


def _return_error(read: Callable[[Any], np.ndarray], which: int | str) -> np.ndarray | DecodeError:
    try:
        return read(which)
    except DecodeError as error:
        return error


def _collate(targets: Targets | None, items: list[tuple[Key, Any]]) -> Batch | str:
    """A batch, or the message of the first image that cannot be read."""
    for _, example in items:
        if isinstance(example, DecodeError):
            return str(example)  # torch cannot send an exception of our own class from a worker
    first, _ = items[0]
    positions, indices = (torch.tensor([getattr(key, field) for key, _ in items]) for field in ("position", "image"))
    images = stack_images([image.as_subclass(Tensor) for _, (image, _) in items])
    collated = None if targets is None else targets.collate([target for _, (_, target) in items])
    batch = Batch(first.epoch, first.step, indices, positions, images, collated)
    return batch if get_worker_info() is None else share_memory(batch)


def train_batches(
    images: Images,
    plan: BatchPlan,
    transform: Callable[..., Any],
    *,
    targets: Targets | None = None,
    scheduled: ScheduledAugmentation | None = None,
    start: EpochStep = EpochStep(),
    workers: int = 0,
    pin_memory: bool = False,
    on_wait: Callable[[], None] = lambda: None,
) -> Generator[Batch, None, None]:
    """Training batches of images that are augmented one by one, from `start` to the end of the plan, if it has one.

    Args:
        transform: a uint8 image (3, H, W) -> the augmented one (3, h, w); with `targets`, the image as a `tv_tensors.Image`
            and its target -> both augmented.
        targets: those that change with the image, such as boxes; the batches have none of their own without.
        scheduled: of the size of the images, and mosaics, in place of `transform`; it needs `targets`.
        workers: processes; 0 for none.
        pin_memory: as of torch's DataLoader.
        on_wait: is called every few seconds while no batch arrives, and may raise to end the waiting.

    Raises:
        JobError: an image can no longer be read; a worker has died, or is stuck.
    """
    timeout_seconds()  # so that a wrong value is refused before it is needed
    sampler = _BatchSampler(plan, start)
    examples = _AugmentedImages(images, transform, targets, plan.seed, scheduled)
    loader = DataLoader(
        examples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=partial(_collate, targets),
        worker_init_fn=init_worker,
        prefetch_factor=4 if workers else None,
        pin_memory=pin_memory,
        timeout=watch_workers.POLL_SECONDS if workers else 0,
        generator=torch.Generator(),  # without its own, the loader would draw from the run's random state
    )
    if workers:
        check_queues(workers)
    iterator: Any = iter(loader)
    processes = list(iterator._workers) if workers else []
    # Batches that a program leaves open would else hang its end, since Python waits for the workers.
    end = partial(kill_at_exit, processes, os.getpid())
    atexit.register(end)

    def pending_paths() -> list[str]:
        """The files of the batch that is waited for."""
        if not isinstance(images, LazyImages) or not sampler.pending:
            return []
        return [images.paths[index] for key in sampler.pending[0] for index in examples.indices(key)]

    try:
        while (batch := next_batch(iterator, on_wait, pending_paths)) is not None:
            sampler.pending.popleft()
            if isinstance(batch, str):
                raise JobError(f"{batch} It could be read when the run began.")
            yield map_tensors(batch, np.ndarray, torch.from_numpy)
    finally:
        atexit.unregister(end)
        if processes:
            iterator._shutdown_workers()
            kill_workers(processes, os.getpid())


def tensor_batches(images: Tensor, plan: BatchPlan, *, start: EpochStep = EpochStep()) -> Generator[Batch, None, None]:
    """Endless training batches from one tensor (N, 3, h, w), not augmented."""
    for epoch, step, indices in plan.batches(start):
        yield Batch(epoch, step, indices, plan.positions(step), images[indices])
