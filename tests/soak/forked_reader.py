"""The sandbox of `resnets.weights` without its seconds of imports: each reader is forked from one process that has them done.

Everything else is as in earnest: limits, readers, and the file that is handed over.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, ClassVar


class Forked:
    """Takes the place of `sandbox._run`."""

    server: ClassVar[subprocess.Popen[str] | None] = None
    tally: ClassVar[collections.Counter[str]] = collections.Counter()
    largest: ClassVar[int] = 0  # kB of memory that a process used

    @classmethod
    def start(cls) -> None:
        """Start the process that has all imported, if there is none, and wait until it is ready."""
        if cls.server is None:
            cls.server = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert cls.server.stdout is not None
            assert cls.server.stdout.readline() == "ready\n"

    @classmethod
    def run(cls, opened: IO[bytes], path: Path, arguments: list[str], timeout: float) -> None:
        """Fork a reader with these arguments and wait for it."""
        cls.start()
        assert cls.server is not None
        assert cls.server.stdin is not None
        assert cls.server.stdout is not None
        print(json.dumps([str(path.absolute()), arguments, timeout]), file=cls.server.stdin, flush=True)
        status, used = map(int, cls.server.stdout.readline().split())
        cls.tally["ended" if status == 0 else f"ended by signal {status}"] += 1
        cls.largest = max(cls.largest, used)


def serve() -> None:
    """Fork a reader for each line of stdin, and answer with the signal that ended it and the kB that it used."""
    import h5py  # noqa: F401
    import safetensors.numpy
    import safetensors.torch  # noqa: F401

    from resnets.weights.readers import keras_zip, sandbox_child, torch_file  # noqa: F401

    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
    print("ready", flush=True)
    for line in sys.stdin:
        path, arguments, timeout = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(path, os.O_RDONLY), 0)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                os.dup2(2, 1)
                signal.alarm(int(timeout) + 1)
                sys.argv = ["-c", *arguments]
                sandbox_child.main()
            finally:
                os._exit(1)
        _, status, usage = os.wait4(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, usage.ru_maxrss, flush=True)


if __name__ == "__main__":
    serve()
