"""Runs the contenders of one job in turn, each in a process of its own, and keeps what was measured."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
OURS = Path(sys.executable)
PEERS = HERE.parent / "build" / "peers" / "bin" / "python"


@dataclass(frozen=True)
class Contender:
    """One way to do the job.

    Its command ends with a line of JSON: `amount`, the work that was done, and `seconds`, how long it took, or null for
    the whole process as it is timed from outside. Everything else in it is kept as it is.
    """

    name: str
    command: tuple[str, ...]
    wanted: float | None = None  # how many times as fast ours should be


@dataclass(frozen=True)
class Job:
    """What is compared. The first contender is ours."""

    name: str
    title: str
    unit: str
    contenders: tuple[Contender, ...]


def compare(job: Job, *, rounds: int) -> dict[str, Any]:
    """Run every contender once a round, A B C A B C, so that a machine that changes its speed is fair to all."""
    runs: dict[str, list[dict[str, Any]]] = {contender.name: [] for contender in job.contenders}
    for number in range(rounds):
        for contender in job.contenders:
            print(f"{job.name}: round {number + 1} of {rounds}, {contender.name} ...", file=sys.stderr, flush=True)
            runs[contender.name].append(_run(contender.command))
    rates = {name: statistics.median(each["rate"] for each in found) for name, found in runs.items()}
    ours = job.contenders[0].name
    ratios = {
        each.name: {"measured": rates[ours] / rates[each.name], "wanted": each.wanted} for each in job.contenders[1:]
    }
    result = {
        "job": job.name, "title": job.title, "unit": job.unit, "ours": ours, "rounds": rounds, "median": rates,
        "ratios": ratios, "runs": runs, "machine": machine(), "versions": versions(),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{job.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _run(command: Sequence[str]) -> dict[str, Any]:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, error = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{error[-3000:]}")
    found = json.loads(out.strip().splitlines()[-1])
    found["wall_seconds"] = wall
    found["rate"] = found["amount"] / (found["seconds"] or wall)
    return found


def report(amount: float, seconds: float | None, **more: Any) -> None:
    """The last line of a contender, with the largest memory that this process had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"amount": amount, "seconds": seconds, "peak_memory_bytes": peak, **more}))


def machine() -> dict[str, Any]:
    """What it ran on; without a name that would tell whose it is."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {"cpu": cpu, "processors": len(os.sched_getaffinity(0)), "system": platform.system()}


def versions() -> dict[str, dict[str, str]]:
    """Of the libraries that take part, in both environments."""
    wanted = ["resnets", "torch", "torchvision", "timm", "openvino", "onnxruntime", "pillow", "keras", "tensorflow-cpu"]
    code = (
        "import json,sys; from importlib.metadata import version, PackageNotFoundError as E\n"
        "found={}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name]=version(name)\n"
        "    except E: pass\n"
        "print(json.dumps(found))"
    )
    pythons = {"ours": OURS} | ({"peers": PEERS} if PEERS.exists() else {})
    return {
        name: json.loads(subprocess.run([python, "-c", code, *wanted], capture_output=True, text=True).stdout)
        for name, python in pythons.items()
    }
