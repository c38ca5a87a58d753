"""What the command sets for its own process: memory, threads, remarks of Pillow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnets import resource_limits
from resnets.cli import process_settings

MAPPED = (
    "import ctypes, sys\n"
    "libc = ctypes.CDLL('libc.so.6')\n"
    "names = 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split()\n"
    "class Info(ctypes.Structure):\n    _fields_ = [(name, ctypes.c_size_t) for name in names]\n"
    "libc.mallinfo2.restype = Info\n"
    "libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]\n"
    "def mapped():\n    '''Whether a large piece of memory comes from the system by itself, as glibc does by default.'''\n"
    "    before = libc.mallinfo2().hblks\n    libc.malloc(2**26)\n    return libc.mallinfo2().hblks > before\n"
)


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a processor."""
    for name, text in {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(resource_limits, "ROOT", tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own functions")
@pytest.mark.parametrize(("variables", "kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_large_blocks_are_kept_unless_glibc_is_configured(variables: dict[str, str], kept: bool) -> None:
    script = (
        f"{MAPPED}from resnets.cli import process_settings\nbefore = mapped()\n"
        "process_settings.keep_memory()\nprint(before, mapped())"
    )
    environment = {
        name: text for name, text in os.environ.items() if name not in process_settings.MALLOC_VARIABLES
    } | variables
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(not kept)]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own functions")
def test_a_library_call_leaves_the_program_around_it_as_it_is() -> None:
    """Its memory, its filters of warnings and its collector of garbage, after a prediction."""
    script = (
        f"{MAPPED}import gc, warnings\nimport numpy as np\nfrom resnets.data.image.preprocess import Preprocess\n"
        "from resnets.models import zoo\nfrom resnets.tasks.classification.task import Classification\n"
        "from resnets.tasks.trained_model import TrainedModel\n"
        "filters, frozen, before = list(warnings.filters), gc.get_freeze_count(), mapped()\n"
        "task = Classification(('a', 'b'))\n"
        "model = TrainedModel(task, zoo.build('tiny', num_classes=2), Preprocess.imagenet(32))\n"
        "model.predict(np.zeros((40, 40, 3), np.uint8))\n"
        "print(before, mapped(), warnings.filters == filters, gc.get_freeze_count() == frozen, gc.isenabled())\n"
    )
    environment = {name: text for name, text in os.environ.items() if name not in process_settings.MALLOC_VARIABLES}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 5


@pytest.mark.usefixtures("quota")
def test_threads_follow_the_quota_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    process_settings.limit_threads()
    assert os.environ == {"OMP_NUM_THREADS": "1"}


@pytest.mark.usefixtures("quota")
def test_a_number_of_threads_that_was_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    process_settings.limit_threads()
    assert os.environ == {"OMP_NUM_THREADS": "7"}


def test_without_a_quota_nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resource_limits, "ROOT", tmp_path)
    monkeypatch.setattr(os, "environ", {})
    process_settings.limit_threads()
    assert os.environ == {}
