"""What all tests share."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from tests.in_soak import IN_SOAK
from tests.made_once import FOLDER

from resnets.cli import process_settings
from resnets.disable_telemetry import disable_telemetry

# No test fails because the machine is slow.
hypothesis.settings.register_profile("any_speed", deadline=None)
hypothesis.settings.load_profile("any_speed")

# Keras is one of the independent implementations that the networks are compared with; on torch it runs in one process
# with ours.
os.environ.setdefault("KERAS_BACKEND", "torch")

# No test asks a host of the internet; those with a server on this machine remove it.
os.environ.setdefault("RESNETS_OFFLINE", "1")

# No library that a test imports by itself reports its use; OpenVINO would fork this process for each conversion.
disable_telemetry()

# As many processes run the tests as there are processors; and some tests count on one thread that computes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Threads that wait for each other must not spin on processors that other tests use.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# pytest imports readline, which tells the processes that pytest-xdist starts a width of the terminal that nobody has.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

# As the command does for its own process. Networks come and go, and the system clears each page anew.
process_settings.keep_memory()

# A shell starts what runs in the background with interrupts ignored, and every process started by a test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

SOAK = Path(__file__).parent / "soak"
SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Give a function from a name to the path of a developer's real images or weights; it skips without them."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"needs the developers' data file {relative}")
        return path

    return find


@pytest.fixture(scope="session")
def program() -> Callable[[str], ModuleType]:
    """Give a function from the name of a program under `tests/soak` to its module."""

    def load(name: str) -> ModuleType:
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, SOAK / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return load


@pytest.fixture(scope="session", autouse=True)
def forked_readers(program: Callable[[str], ModuleType]) -> Iterator[None]:
    """The processes that read foreign files are forked from one that has torch ready, which saves seconds a file.

    In `tests/weights` the fixture `real_sandbox` starts one in earnest; commands in processes of their own do so too.
    """
    from resnets.weights.readers import sandbox

    run = sandbox._run
    sandbox._run = program("forked_reader").Forked.run
    yield
    sandbox._run = run


@pytest.fixture(scope="session", autouse=True)
def quick_measurements() -> Iterator[None]:
    """The speed of an int8 file is measured in single batches; no test but those of `make soak` depends on it."""
    from resnets.export.quantization import measure_gain

    with pytest.MonkeyPatch.context() as patch:
        if not IN_SOAK:
            patch.setattr(measure_gain, "SECONDS", 0)
        yield


@pytest.fixture(autouse=True, scope="module")
def quick_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave the figures of runs in this process white. Tests of drawings draw all, and so does every run in a process that is
    not forked from one with torch, such as those of `tests/contracts/test_hosts.py`."""
    drawn = ("models/summary", "report", "benchmarks", "studies/test_run_study")
    from tests.quick_figures import leave_out, leave_white

    with pytest.MonkeyPatch.context() as patch:
        path = str(request.path.relative_to(Path(__file__).parent))
        if not any(part in path for part in drawn):
            leave_white(patch.setattr)
        if path.startswith("training"):
            leave_out(patch.setattr)
        yield


def keep_from_collections() -> None:
    """What is left after a collection, the imported modules above all, stays. To walk it takes most of a second, and garbage
    is collected several hundred times, by Keras alone for each network."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        keep_from_collections()


MOST_KEPT_GIB = 1.5  # of memory: what is given back is cleared page by page when the next file needs it


def _resident_gib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**30


@pytest.fixture(autouse=True, scope="module")
def memory_is_given_back() -> Iterator[None]:
    """After each file of tests; the networks of one file would otherwise stay in the heap while those of the next are made."""
    yield
    keep_from_collections()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None and _resident_gib() > MOST_KEPT_GIB:
        trim(0)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # those of pytest-xdist inherit the variable
        folder = tempfile.TemporaryDirectory(prefix="resnets-tests-")
        os.environ[FOLDER] = folder.name
        config.add_cleanup(folder.cleanup)


PEAKS: list[float] = []  # GiB, of each process of pytest-xdist that has ended


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if (peak := getattr(node, "workeroutput", {}).get("peak")) is not None:
        PEAKS.append(peak)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if PEAKS:
        terminalreporter.write_line(
            f"largest memory of the test processes: {', '.join(f'{each:.1f}' for each in PEAKS)} GiB"
        )
