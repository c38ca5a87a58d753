from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resnets.errors import JobError, UserError
from resnets.training.run_dir import lock

# Holds the folder, and starts a process that outlives it, as the workers of a killed run do.
HOLDER = """
import os, sys, time
from pathlib import Path
from resnets.training.run_dir import lock
with lock.run_lock(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


def _holder(folder: Path) -> tuple[subprocess.Popen, int]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_a_run_that_another_process_has_locked_is_refused_until_that_process_ends(tmp_path):
    process, child = _holder(tmp_path)
    try:
        with (
            pytest.raises(UserError, match=rf"is being written by process {process.pid} on ") as caught,
            lock.run_lock(tmp_path),
        ):
            pass
        assert "\n" not in str(caught.value)
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives, with everything that it inherited
        with lock.run_lock(tmp_path):
            assert (tmp_path / lock.FILE_NAME).read_text().startswith(f"process {os.getpid()} on ")
    finally:
        process.kill()
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_the_lock_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with lock.run_lock(tmp_path):
            pass
    program = (
        "import sys; from pathlib import Path; from resnets.training.run_dir import lock; "
        "lock.run_lock(Path(sys.argv[1])).__enter__()"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)]).returncode == 0


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(JobError, match="nowhere"), lock.run_lock(tmp_path / "nowhere"):
        pass
