"""Which of the processes of a job this one is, as torchrun or another launcher says; without one it is the only one."""

from __future__ import annotations

import os
import warnings

from resnets import limits


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


def cores() -> int:
    """The processors for this process: in a container fewer than the machine's, and shared with a run's other processes."""
    return max(limits.processors() // local_size(), 1)


def launched() -> bool:
    """Whether a launcher has started this process, with others or alone."""
    return size() > 1 or "TORCHELASTIC_RUN_ID" in os.environ


def ignore_image_remarks() -> None:
    """Let Pillow's remarks on odd metadata, which name no file, stay unsaid; only for a process that is ours alone."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
