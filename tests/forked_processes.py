"""Processes forked from one that has torch and the training imported: alone, or as the ranks of one run.

The figures of their reports are white, and most have nothing in them.
"""

import contextlib
import importlib
import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from tests.quick_figures import leave_out, leave_white

from resnets.cli.main import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([
    "jinja2", "matplotlib.pyplot", "pydantic.main", "pydantic.type_adapter", "pydantic.types", "pytest", "rich.progress",
    "scipy.ndimage", "scipy.stats", "sklearn.metrics", "typer._adapters",
    "torch.distributed", "resnets.cli.verbs.train", "resnets.tasks.classification.task", "resnets.tasks.detection.task",
    "resnets.tasks.multilabel.task", "resnets.tasks.segmentation.task", "resnets.training.train",
    "resnets.training.evaluation.final_evaluation", "tests.forkserver_ready",
])  # fmt: skip
TIMEOUT_SECONDS = 120


def run_command(words: Sequence[str], module: str = "", task: str = "") -> int:
    """The command line, which knows the class `task` of `module`, if one is named."""
    if module:
        from resnets.tasks import registry

        registry.register(getattr(importlib.import_module(module), task))
    return main(words)


def _run(environment: dict[str, str], log: Path, job: Callable[..., int | None], arguments: Sequence[object]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.clear()
    os.environ.update(environment)  # that of the test, not that in which the first process was forked
    torch.set_num_threads(1)
    leave_white()
    leave_out()
    multiprocessing.set_start_method(
        None, force=True
    )  # for its own workers, which end with it if they are forked from it
    sys.exit(job(*arguments))


def start(log: Path, job: Callable[..., int | None], *arguments: object, **environment: str) -> BaseProcess:
    """Start a job, a function that can be imported by its name, whose output goes into `log`; its result is the exit code."""
    with contextlib.chdir(Path(__file__).parents[1]):  # where the process to fork from finds `tests`
        forkserver.ensure_running()
    process = FORKS.Process(target=_run, args=({**os.environ, **environment}, log, job, arguments))
    process.start()
    return process


def run_script(log: Path, script: Path, *words: str, **environment: str) -> str:
    """Do what `python SCRIPT WORDS` does, and return its output. A script that fails fails the test."""
    process = start(log, _run_script, script, words, **environment)
    process.join(TIMEOUT_SECONDS)
    process.kill()
    assert process.exitcode == 0, log.read_text()
    return log.read_text()


def _run_script(script: Path, words: Sequence[str]) -> None:
    sys.argv = [str(script), *words]
    runpy.run_path(str(script), run_name="__main__")


def start_ranks(
    folder: Path, size: int, job: Callable[..., int | None], *arguments: object
) -> tuple[list[Path], list[BaseProcess]]:
    """Start the job in `size` ranks of one process group; return their logs and the processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = [folder / f"log{rank}" for rank in range(size)]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
    }
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    started = [start(log, job, *arguments, **common, **rank) for log, rank in zip(logs, ranks, strict=True)]
    return logs, started


def run_ranks(folder: Path, size: int, job: Callable[..., int | None], *arguments: object) -> list[str]:
    """Run the job in `size` ranks until all have ended, and return the output of each. A failed rank fails the test."""
    logs, started = start_ranks(folder, size, job, *arguments)
    for process in started:
        process.join(TIMEOUT_SECONDS)
        process.kill()
    outputs = [log.read_text() for log in logs]
    assert [process.exitcode for process in started] == [0] * size, "\n".join(outputs)
    return outputs
