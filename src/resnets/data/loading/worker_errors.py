"""Errors of worker processes that have died or are stuck. This file does not import torch."""

from resnets.errors import JobError

WORKER_DIED = "A worker process was killed or has ended; memory may be short. Use fewer `workers`, or `workers=0`."


class WorkerError(JobError):
    """The worker processes have died, or no longer send batches."""


def is_worker_death(error: BaseException) -> bool:
    """Whether it is torch's error that a worker has died; a signal handler can raise it at any moment."""
    return isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error)
