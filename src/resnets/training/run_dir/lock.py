"""Lock of a run directory, so that one process at a time writes into it.

The system releases the lock when the process ends, however it ends. It is a record lock and not `flock`, which the worker
processes would inherit; they outlive a killed run by some seconds.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from resnets.errors import JobError, UserError
from resnets.progress import log

FILE_NAME = ".lock"


class RunLockedError(UserError):
    """Another process writes into the run directory."""


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Lock the run directory for this process.

    Raises:
        RunLockedError: another process has locked it.
        JobError: the directory cannot be written to.
    """
    path = run / FILE_NAME
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
    except OSError as error:
        raise JobError(f"Cannot write '{path}': {error.strerror}.") from error
    with file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:  # POSIX allows either for a lock that another process has
            file.seek(0)
            holder = file.read(200).decode("utf-8", errors="replace").strip() or "another process"
            problem = f"The run '{run}' is being written by {holder}"
            raise RunLockedError(f"{problem}; wait for its end, or stop it first.") from error
        except OSError as error:  # some network file systems have no locks
            log(f"'{run}' cannot be locked ({error.strerror}): make sure that no other process writes to it")
        file.truncate(0)
        file.seek(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(1 << 20)  # beyond the text, so that other processes can read it
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    import fcntl

    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
