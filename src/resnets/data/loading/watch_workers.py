"""Worker processes of `train_loader.py`: what each is set up with, the batches they share, the wait for them, and their end."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from resnets.data.image.pillow_warnings import ignore_pillow_warnings
from resnets.data.loading.batch import Batch
from resnets.data.loading.worker_errors import WORKER_DIED, WorkerError, is_worker_death
from resnets.errors import JobError
from resnets.message_format import format_list
from resnets.nested_tensors import map_tensors
from resnets.timeout import timeout_seconds

POLL_SECONDS = 5.0  # of waiting for a batch, until it is checked whether to go on waiting
END_SECONDS = 5.0  # for a killed process to end; one that hangs in a read from a dead disk does not


def share_memory(batch: Batch) -> Batch:
    """The batch with its tensors in shared memory; as arrays, to be sent through a pipe, if shared memory is full.

    This is done here and not by the queue, whose thread would print the error, drop the batch, and leave the main process
    waiting.
    """
    try:
        map_tensors(batch, Tensor, Tensor.share_memory_)
    except (RuntimeError, OSError):
        arrays: Batch = map_tensors(batch, Tensor, lambda tensor: tensor.numpy())
        return arrays
    return batch


def init_worker(_: int) -> None:
    ignore_pillow_warnings()
    torch.set_num_threads(1)  # the number of workers is chosen by the number of cores
    # Ctrl-C, and the SIGTERM of many job managers, reach the whole process group; the main process ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def check_queues(workers: int) -> None:
    """Create the queues that torch will create, whose locks take shared memory; torch's loader would print a traceback.

    Raises:
        JobError: they cannot be created.
    """
    try:
        queues: list[Any] = [multiprocessing.Queue() for _ in range(workers + 2)]
        for queue in queues:
            queue.close()
    except OSError as error:
        raise JobError(
            f"No worker process can be started: {error.strerror} (the shared memory of this machine, /dev/shm, or "
            "the number of open files). Use `workers=0`."
        ) from error


def next_batch(
    iterator: Iterator[Batch | str], on_wait: Callable[[], None], pending_paths: Callable[[], Sequence[str]]
) -> Batch | str | None:
    """The next batch; None at the end of a plan that ends.

    Args:
        on_wait: is called every few seconds while no batch arrives.
        pending_paths: the files of the batch that is waited for, which an error names.

    Raises:
        WorkerError: no batch has arrived for RESNETS_TIMEOUT_MINUTES, or a worker has died.
    """
    start = time.monotonic()
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
            if time.monotonic() - start > timeout_seconds():
                raise WorkerError(_stuck_message(pending_paths())) from error


def _stuck_message(paths: Sequence[str]) -> str:
    files = f" The batch that it works on: {format_list(paths)}." if paths else ""
    return (
        f"No images have arrived for {timeout_seconds() / 60:g} minutes: a worker process is stuck, perhaps on storage that "
        f"does not answer. Use fewer `workers`, or set RESNETS_TIMEOUT_MINUTES to wait longer.{files}"
    )


def kill_workers(workers: Sequence[Any], owner: int) -> None:
    """Kill the worker processes, also one that hangs in a read.

    torch sends SIGTERM, which they ignore, and Python would wait for them when it ends.

    Args:
        owner: the process that started them; a fork of it is not their parent.
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
