"""Runs verbs of the command line in processes forked from one that has imported everything, each with its own fault.

Each case is a dict: `words`, `folder` (the working one), `env` (null removes a variable), `stdout` and
`stderr` ("", "closed", "none", "full" or an encoding), `bytes` (the most that a file may hold), `shm` (bytes of /dev/shm),
`passwd` (false for none), `kill` (the first process that it starts), `asks` (an address of a server that the verb
starts, which is asked until it answers, and then ended by SIGTERM). The answer is a dict with the exit code and what was
printed.
"""

from __future__ import annotations

import ctypes
import gc
import io
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
import urllib.request
from multiprocessing.connection import Connection
from typing import Any

from tests.in_soak import IN_SOAK

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000  # sched.h, mount.h
SECONDS = 120
NOT_PERMITTED = 77  # the fault cannot be made here


def serve(cases: Connection) -> None:
    """Answer each case until there are no more; a job of `tests.forked_processes`."""
    import pyarrow.parquet  # noqa: F401
    import webdataset  # noqa: F401
    from tqdm import tqdm

    import resnets.api.bench
    import resnets.api.data
    import resnets.api.embeddings
    import resnets.api.evaluate
    import resnets.api.export
    import resnets.api.study
    import resnets.api.summary
    import resnets.api.weights
    import resnets.cli.main
    import resnets.data.check.check
    import resnets.serve.run
    import resnets.tasks.classification.task
    import resnets.tasks.evaluation.evaluate
    import resnets.tasks.evaluation.evaluation_table
    import resnets.tasks.predict_files
    import resnets.training.train
    import resnets.weights.conversion
    import resnets.weights.verification

    tqdm.monitor_interval = 0  # its thread would not be forked
    if IN_SOAK:  # the costs of trainings are counted once, and not by each process that lists the studies
        resnets.api.study.list_studies()

    gc.freeze()  # so that a collection in a child does not copy these objects
    assert threading.active_count() == 1
    while (case := cases.recv()) is not None:
        cases.send(forked(case))


def forked(case: dict[str, Any]) -> dict[str, Any]:
    pipes = [os.pipe() for _ in range(2)]
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            signal.alarm(SECONDS)
            code = run(case, [write for _, write in pipes])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    printed = []
    for read, write in pipes:
        os.close(write)
        os.set_blocking(read, False)  # a process that is left over may hold the other end
        parts = []
        try:
            while part := os.read(read, 65536):
                parts.append(part)
        except BlockingIOError:
            parts.append(b"[a process is left over]")
        os.close(read)
        printed.append(b"".join(parts).decode("latin-1"))
    return {"code": os.waitstatus_to_exitcode(status), "out": printed[0], "err": printed[1]}


def run(case: dict[str, Any], ends: list[int]) -> int:
    from resnets.cli import main

    for name, value in case["env"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.chdir(case["folder"])
    if case["shm"] and not mounted(b"tmpfs", "/dev/shm", f"size={case['shm']}"):
        return NOT_PERMITTED
    if not case["passwd"]:
        for file in ("/etc/passwd", "/etc/nsswitch.conf"):  # the second one may name other sources
            mounted(b"/dev/null", file)
        if os.path.expanduser("~") != "~":
            return NOT_PERMITTED
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout, sys.stderr = (
        opened(number, case[name], ends[number - 1]) for number, name in ((1, "stdout"), (2, "stderr"))
    )
    if case["kill"]:
        threading.Thread(target=kill_first, daemon=True).start()
    if case["asks"]:
        threading.Thread(target=ask_and_end, args=(case["asks"],), daemon=True).start()
    if case["bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (case["bytes"], case["bytes"]))
    try:
        return main.main(case["words"])
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        for process in multiprocessing.active_children():
            process.join()  # as Python does at its end


def opened(number: int, fault: str, end: int) -> Any:
    """The stream as Python sets it up at its start."""
    if fault == "closed":
        os.close(number)
        return None
    os.dup2(os.open("/dev/full", os.O_WRONLY) if fault == "full" else end, number)
    if fault == "none":
        return None
    encoding = fault if fault not in ("", "full") else "utf-8"
    file = open(number, "wb", buffering=0 if number == 2 else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(file, encoding, "backslashreplace" if number == 2 else "strict", write_through=number == 2)


def kill_first() -> None:
    while not (children := multiprocessing.active_children()):
        time.sleep(0.001)
    os.kill(int(children[0].pid or 0), signal.SIGKILL)


def ask_and_end(address: str) -> None:
    answered = False
    while not answered:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS) as answer:
                answered = answer.status == 200
        except OSError:
            time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def mounted(source: bytes, place: str, options: str = "") -> bool:
    """Mount a new tmpfs, or another file, at `place`, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    kind, flag = (b"tmpfs", 0) if source == b"tmpfs" else (None, MS_BIND)
    return (
        libc.unshare(CLONE_NEWNS) == 0
        and libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        and libc.mount(source, place.encode(), kind, flag, options.encode()) == 0
    )
