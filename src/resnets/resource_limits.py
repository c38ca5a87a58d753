"""Processors and memory that this process may use, within the limits of its cgroups.

A container (`docker --cpus`, `--memory`), a batch system or systemd limits a process by control groups, of version 1 or 2 and
nested in each other (cgroups(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux). /proc/meminfo and the
affinity mask ignore them and show the resources of the host.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
UNLIMITED = 2**60  # bytes; version 1 writes "no limit" as the largest number of whole pages


def cpu_count(root: Path | None = None) -> int:
    """The number of processors that this process may use: its affinity mask, or its CPU quota where that is lower.

    A quota of 1.5 processors counts as 2: one thread would never use a third of it.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return available if quota is None else max(min(available, math.ceil(quota)), 1)


def cpu_quota(root: Path | None = None) -> float | None:
    """The CPU quota of the cgroups in processors, such as 0.5; None without a limit."""
    return min((quota for folder in cgroups("cpu", root) if (quota := _quota(folder))), default=None)


def free_memory(root: Path | None = None) -> int:
    """Bytes that can be allocated without swapping and within the limits of all cgroups."""
    return max(min((_machine_memory(root), *(_available_memory(folder) for folder in cgroups("memory", root)))), 0)


def cgroups(controller: str, root: Path | None = None) -> list[Path]:
    """The folders of the cgroups that `controller` limits this process by, the innermost first, each with its parents.

    Args:
        controller: "cpu" or "memory".
        root: where /proc and /sys are.
    """
    root = root or ROOT
    own = _memberships(root)
    folders: list[Path] = []
    for top, mount, controllers in _mounts(root):
        name = own.get("" if controllers is None else controller)
        if name is None or (controllers is not None and controller not in controllers):
            continue
        # A container often sees its own group as the root of the mount, but the host's name of it in /proc.
        inside = _relative(name, top)
        folder = mount / inside if inside is not None and (mount / inside).is_dir() else mount
        while True:
            folders.append(folder)
            if folder == mount:
                break
            folder = folder.parent
    return folders


def _memberships(root: Path) -> dict[str, str]:
    """The group of this process by the name of its controller; that of version 2 by the empty name."""
    memberships: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        memberships |= dict.fromkeys(controllers.split(","), name)
    return memberships


def _mounts(root: Path) -> Iterator[tuple[str, Path, frozenset[str] | None]]:
    """(group at the root of the mount, its folder, controllers) of each mounted hierarchy; None controllers: version 2."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = frozenset(kind[-1].split(",")) if kind[0] == "cgroup" else None
        yield words[3], root / words[4].lstrip("/"), controllers


def _relative(name: str, top: str) -> str | None:
    """The group `name` as it is called below `top`; None where it is not below."""
    top = top.rstrip("/")
    if ".." in name.split("/") or not (name == top or name.startswith(f"{top}/")):
        return None
    return name[len(top) :].strip("/")


def _quota(folder: Path) -> float | None:
    if words := _words(folder / "cpu.max"):  # version 2: "50000 100000" or "max 100000"
        return _ratio(*words) if len(words) == 2 else None
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")  # -1: no limit
    return _ratio(quota[0], period[0]) if quota and period else None


def _ratio(quota: str, period: str) -> float | None:
    numerator, denominator = _number(quota), _number(period)
    return numerator / denominator if numerator is not None and denominator and numerator > 0 else None


def _available_memory(folder: Path) -> int:
    """Bytes that a group may still allocate. Cached pages of files count as used, but are freed when needed."""
    second = (folder / "memory.current").exists()
    limits = ("memory.max", "memory.high") if second else ("memory.limit_in_bytes",)
    known = [number for name in limits if (number := _number(*_words(folder / name)[:1])) is not None]
    limit = min(known, default=UNLIMITED)
    if limit >= UNLIMITED:
        return UNLIMITED
    used = _number(*_words(folder / ("memory.current" if second else "memory.usage_in_bytes"))[:1]) or 0
    stat = dict(pair for line in _lines(folder / "memory.stat") if len(pair := line.split()) == 2)
    reclaimable = stat.get("inactive_file" if second else "total_inactive_file", "0")
    return limit - used + min(_number(reclaimable) or 0, used)


def _machine_memory(root: Path | None) -> int:
    for line in _lines((root or ROOT) / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable" and (kib := _number(*value.split()[:1])) is not None:
            return kib * 1024
    # Not Linux: half of the memory is a guess that rarely hurts.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 2 * 10**9


def _number(word: str = "") -> int | None:
    """A number as the kernel writes it; None for `max`, for nothing, and for anything else."""
    digits = word.removeprefix("-")
    return int(word) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else None


def _words(path: Path) -> list[str]:
    return next((line.split() for line in _lines(path)), [])


def _lines(path: Path) -> list[str]:
    """The lines of a kernel file; none where it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except (OSError, ValueError):
        return []
