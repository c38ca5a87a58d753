"""Rank and world size from the environment variables of torchrun or another launcher; 0 and 1 without one."""

import os

from resnets import resource_limits


def rank() -> int:
    """The rank of this process, from 0."""
    return _number("RANK", 0) if launcher_error() is None else 0


def world_size() -> int:
    """The number of processes of the job, on all machines."""
    return _number("WORLD_SIZE", 1) if launcher_error() is None else 1


def local_rank() -> int:
    """The rank of this process on its machine, from 0, which is the index of its GPU."""
    return _number("LOCAL_RANK", 0) if world_size() > 1 else 0


def local_world_size() -> int:
    """The number of processes of the job on this machine, at most `world_size()`."""
    return min(max(_number("LOCAL_WORLD_SIZE", 1), 1), world_size())


def launcher_error() -> str | None:
    """What is wrong with the launcher's environment variables, which another program may have left; None if they are right.

    With wrong variables a process counts as the only one. Training, which would wait for the others, refuses them.
    """
    variables = {name: value for name in ("RANK", "WORLD_SIZE") if (value := os.environ.get(name))}
    for name, value in variables.items():
        if not value.strip().isdecimal():
            return f"{name} is '{value}', which is not a number"
    processes = _number("WORLD_SIZE", 1)
    if processes < 1:
        return "WORLD_SIZE is 0"
    if _number("RANK", 0) >= processes:
        return f"RANK is {_number('RANK', 0)} of {processes} processes, which are counted from 0"
    needed = ("RANK", "MASTER_ADDR", "MASTER_PORT") if processes > 1 else ()
    for name in needed:
        if not os.environ.get(name):
            return f"WORLD_SIZE is {processes}, and {name} is not set"
    if needed and not os.environ["MASTER_PORT"].isdecimal():
        return f"MASTER_PORT is '{os.environ['MASTER_PORT']}', which is not a number"
    return None


def _number(name: str, default: int) -> int:
    """The value of an environment variable; the default where it is missing, empty or not a number."""
    value = os.environ.get(name, "").strip()
    return int(value) if value.isdecimal() else default


def cpus_per_rank() -> int:
    """The number of processors for this process: those of the container, divided by the ranks on this machine."""
    return max(resource_limits.cpu_count() // local_world_size(), 1)


def started_by_launcher() -> bool:
    """Whether a launcher has started this process."""
    return world_size() > 1 or "TORCHELASTIC_RUN_ID" in os.environ
