"""The process of the command leaves nothing undone."""

from __future__ import annotations

import signal
import subprocess
import sys

import resnets

PROGRAM = "import atexit, sys; atexit.register(print, 'at the end'); from resnets.__main__ import run; run()"


def _ended(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=60)


def test_what_was_registered_for_the_end_is_done_and_written_out() -> None:
    done = _ended("--version")
    assert done.stdout.splitlines() == [f"resnets {resnets.__version__}", "at the end"]
    assert done.returncode == 0


def test_the_exit_code_is_that_of_the_command() -> None:
    done = _ended("nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_a_closed_stderr_is_no_failure() -> None:
    command = f"exec '{sys.executable}' -c '{PROGRAM}' --version 2>&-"
    done = subprocess.run(["sh", "-c", command.replace("'at the end'", "1")], stdout=subprocess.PIPE, timeout=60)
    assert done.returncode == 0
    assert done.stdout.split() == [b"resnets", resnets.__version__.encode(), b"1"]


WAITING = """
import sys

class Waiting:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            print("importing", flush=True)
            sys.stdin.read()

sys.meta_path.insert(0, Waiting())
from resnets.__main__ import run
run()
"""


def test_an_interrupt_during_the_imports_is_one_line() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
