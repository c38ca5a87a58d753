"""Run the contenders of one job in turn, each in a process of its own, and save the measurements."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RESNETS_OFFLINE", "1")  # no benchmark asks a host for weights
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
OURS = Path(sys.executable)
PEERS = HERE.parent / "build" / "peers" / "bin" / "python"
PEERS_TORCH = HERE.parent / "build" / "peers-torch" / "bin" / "python"


@dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Its command ends with a line of JSON: `amount`, the work that was done, and `seconds`, how long it took, or null to
    time the whole process from outside; `cpu_seconds`, of all processors for that work, is measured then, too. Other entries
    are saved unchanged.
    """

    name: str
    command: tuple[str, ...]  # begins with the Python that runs it
    target: float | None = None  # the target for the ratio of ours to it
    needs: tuple[str, ...] = ()  # modules without which it is left out
    python: str = ""  # the Python that has them, if another one measures


@dataclass(frozen=True)
class Job:
    """What is compared. The first contender is ours."""

    name: str
    title: str
    unit: str
    contenders: tuple[Contender, ...]
    prepare: Callable[[], object] = lambda: None  # makes the images and weights, before any clock runs
    limit: bool = False  # the target ratio is an upper bound, as for memory
    points: float | None = None  # largest difference of the accuracies, in percentage points
    first: bool = False  # ours caches something: its first run, before the rounds, is timed separately


def compare(job: Job, *, rounds: int, results: Path = RESULTS) -> dict[str, Any]:
    """Run every contender once a round, A B C A B C, so that changes in the speed of the machine affect all of them.

    A contender that is not installed, or that fails, is reported and skipped from then on; the others continue.
    """
    job.prepare()
    absent = {each.name: lacking for each in job.contenders if (lacking := _lacking(each))}
    for name, lacking in absent.items():
        _say(f"{job.name}: {name} is skipped: {lacking}")
    failed: dict[str, str] = {}
    runs: dict[str, list[dict[str, Any]]] = {each.name: [] for each in job.contenders if each.name not in absent}
    first = None
    with tempfile.TemporaryDirectory() as home:

        def turn(contender: Contender, which: str) -> dict[str, Any] | None:
            """Return its measurement; None where it is skipped."""
            if contender.name in absent or contender.name in failed:
                return None
            _say(f"{job.name}: {which}, {contender.name} ...")
            try:
                return _run(contender, Path(home))
            except ContenderError as failure:
                failed[contender.name] = str(failure)
                _say(f"{job.name}: {contender.name} failed, the others continue: {failure}")
                return None

        if job.first:
            first = turn(job.contenders[0], "first run")
        for number in range(rounds):
            for contender in job.contenders:
                if found := turn(contender, f"round {number + 1} of {rounds}"):
                    runs[contender.name].append(found)
    result = {
        "job": job.name, "title": job.title, "unit": job.unit, "limit": job.limit, "points": job.points,
        "ours": job.contenders[0].name, "rounds": rounds, **_summary(job, runs, failed), "first": first, "absent": absent,
        "failed": failed, "runs": runs, "machine": machine(), "versions": versions(),
    }  # fmt: skip
    _write(results / f"{job.name}.json", result)
    return result


class ContenderError(Exception):
    """A contender ended with an error, or printed no measurement."""


def _summary(job: Job, runs: dict[str, list[dict[str, Any]]], failed: dict[str, str]) -> dict[str, Any]:
    """Medians over the rounds, and ours divided by each peer's."""
    whole = {name: found for name, found in runs.items() if found and name not in failed}
    median = {name: statistics.median(each["rate"] for each in found) for name, found in whole.items()}
    ours, *peers = job.contenders
    ratios = {
        each.name: {"measured": median[ours.name] / median[each.name], "target": each.target}
        for each in peers
        if each.name in median and ours.name in median
    }
    accuracy = {
        name: statistics.median(each["accuracy"] for each in found)
        for name, found in whole.items()
        if all("accuracy" in each for each in found)
    }
    cpu = {
        name: statistics.median(each["amount"] / each["cpu_seconds"] for each in found)
        for name, found in whole.items()
        if all(each.get("cpu_seconds") for each in found)
    }
    cpu_ratios = {each.name: cpu[ours.name] / cpu[each.name] for each in peers if {ours.name, each.name} <= cpu.keys()}
    return {"median": median, "ratios": ratios, "accuracy": accuracy, "cpu_ratios": cpu_ratios}


def _lacking(contender: Contender) -> str:
    """Return what is not installed for it, or an empty string."""
    python = contender.python or contender.command[0]
    if not Path(python).exists():
        return "its environment is not set up; `make bench` does that"
    code = "import sys; from importlib.util import find_spec; print(*[n for n in sys.argv[1:] if not find_spec(n)])"
    found = subprocess.run([python, "-c", code, *contender.needs], capture_output=True, text=True)
    missing = (
        found.stdout.split() if found.returncode == 0 else [f"a Python that starts ({found.stderr.strip()[-200:]})"]
    )
    return f"it needs {', '.join(missing)}; `make bench` installs that" if missing else ""


def _run(contender: Contender, home: Path) -> dict[str, Any]:
    """Run a contender once. `home` is the cache directory of all runs of the job, empty at its beginning."""
    kept = {"RESNETS_HOME": str(home / "resnets"), "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor")}
    start, cpu_start = time.perf_counter(), children_cpu_seconds()
    process = subprocess.run(contender.command, capture_output=True, text=True, env={**os.environ, **kept})
    wall, cpu = time.perf_counter() - start, children_cpu_seconds() - cpu_start
    if process.returncode:
        last = process.stderr.strip().splitlines()[-3:]
        raise ContenderError(f"it ended with {process.returncode}: {' | '.join(last)}")
    try:
        found = json.loads(process.stdout.strip().splitlines()[-1])
        if found["seconds"] is None:
            found["cpu_seconds"] = cpu
        found["rate"] = found["amount"] / (wall if found["seconds"] is None else found["seconds"])
    except (IndexError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ContenderError(f"its last line is not a measurement: {process.stdout[-200:]!r}") from error
    found["wall_seconds"] = wall
    return found


def children_cpu_seconds() -> float:
    """Of all processes that were started here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(path: Path, result: dict[str, Any]) -> None:
    """Write the result atomically, without the local folders in its paths."""
    text = re.sub(r"(?<![\w./:])/(?:[\w.+-]+/)+", "", json.dumps(result, indent=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    temporary.write_text(text + "\n")
    temporary.replace(path)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def report(amount: float, seconds: float | None, **more: Any) -> None:
    """Print the last line of a contender, with the peak memory of its process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"amount": amount, "seconds": seconds, "peak_memory_bytes": peak, **more}))


def machine() -> dict[str, Any]:
    """Return the properties of this machine, without its name."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"cpu": cpu, "cores": cores, "memory_bytes": memory, "system": platform.system()}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found["gpus"] = subprocess.run(query, capture_output=True, text=True).stdout.split("\n")[:-1]
    return found


@functools.cache
def versions() -> dict[str, dict[str, str]]:
    """Return the versions of the libraries in every environment that exists."""
    packages = ["resnets", "torch", "torchvision", "timm", "openvino", "onnxruntime", "ultralytics", "pillow", "keras"]
    code = (
        "import json,platform,sys; from importlib.metadata import version, PackageNotFoundError as E\n"
        "found={'python': platform.python_version()}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name]=version(name)\n"
        "    except E: pass\n"
        "print(json.dumps(found))"
    )
    pythons = {"ours": OURS, "peers": PEERS, "peers-torch": PEERS_TORCH}
    return {
        name: json.loads(
            subprocess.run([python, "-c", code, *packages, "tensorflow-cpu"], capture_output=True, text=True).stdout
        )
        for name, python in pythons.items()
        if python.exists()
    }
