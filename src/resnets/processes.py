"""Which of the processes of a job this one is, as torchrun or another launcher says; without one it is the only one."""

from __future__ import annotations

import os


def rank() -> int:
    """The number of this process among all, from 0."""
    return int(os.environ.get("RANK", "0"))


def size() -> int:
    """How many processes do the job together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process among those of this machine, from 0: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_size() -> int:
    """How many of the processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def restarts() -> int:
    """How often torchrun has begun the job anew because a process of it ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
