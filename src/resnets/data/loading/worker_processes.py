"""The processes that prepare images for a DataLoader: how they begin, what they send, how they are waited for and ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resnets import ranks
from resnets.errors import JobError

POLL_SECONDS = 5.0  # of waiting for a batch, after which it is looked whether to wait on
END_SECONDS = 5.0  # for a killed process to end; one that the kernel holds in a read of a lost disk does not
WORKER_DIED = (
    "A process that prepares images was killed or has ended; memory may be short. Use fewer `workers`, or `workers=0`."
)


class Batch(NamedTuple):
    epoch: int  # from 0
    step: int  # within the epoch, from 0
    indices: Tensor  # (B,) numbers of the images
    positions: Tensor  # (B,) in the order of the epoch, of all processes together
    images: Tensor  # (B, 3, h, w) uint8


def share_memory(batch: Batch) -> Batch:
    """The batch as it travels from a worker: its images in shared memory, or as an array through a pipe where that is full.

    Shared here and not by the queue, whose thread would print the error, drop the batch, and leave the main process waiting.
    """
    try:
        for tensor in batch[2:]:
            tensor.share_memory_()
    except (RuntimeError, OSError):
        return map_batch(batch, Tensor, lambda tensor: tensor.numpy())
    return batch


def map_batch(batch: Batch, kind: type, change: Callable[[Any], Any]) -> Batch:
    return Batch(*(change(each) if isinstance(each, kind) else each for each in batch))  # type: ignore[arg-type]


def init_worker(_: int) -> None:
    ranks.ignore_pillow_warnings()
    torch.set_num_threads(1)  # the cores are shared out by the number of workers
    # Ctrl-C, and the SIGTERM of many job managers, reach the whole group; the main process ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def check_queues(workers: int) -> None:
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


def next_batch(iterator: Iterator[Batch | str], on_wait: Callable[[], None]) -> Batch | str | None:
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
            raise WorkerError(WORKER_DIED) from error  # it died while a batch was fetched from it
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise WorkerError(WORKER_DIED) if is_worker_death(error) else error from error
            on_wait()
            if time.monotonic() - begun > ranks.timeout_seconds():
                raise WorkerError(
                    f"No images have come for {ranks.timeout_seconds() / 60:g} minutes: a process that prepares them is stuck, "
                    "perhaps on storage that does not answer. Use fewer `workers`, or set RESNETS_TIMEOUT_MINUTES to wait longer."
                ) from error


def is_worker_death(error: BaseException) -> bool:
    """Whether it is torch's word that a worker has ended before its time; it comes at any moment, from a signal handler."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)


def kill_workers(workers: Sequence[Any], owner: int) -> None:
    """End the worker processes, also one that does not listen, such as in a read that never ends.

    torch sends SIGTERM, which they ignore, and Python would wait for them at its end.

    Args:
        owner: the process that started them; of a forked one they are no children.
    """
    if os.getpid() != owner:
        return
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    for worker in workers:
        worker.join(END_SECONDS)


def kill_at_exit(workers: Sequence[Any], owner: int) -> None:
    """The same at the end of the program, where torch's handler of SIGCHLD would raise an error for each that is killed."""
    if os.getpid() == owner:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kill_workers(workers, owner)
