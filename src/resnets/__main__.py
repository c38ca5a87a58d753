"""The command `resnets`, which is also `python -m resnets`."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn

from resnets.cli import process
from resnets.cli.app import main


def run() -> NoReturn:
    """Run the command line and end the process.

    What is registered for the end is done, but no object is taken apart: the system takes the memory back at once, and
    Python would need 0.3 s for that after `predict` and 0.8 s after `train`. `python -m resnets` ends as every module
    does, which profilers need.
    """
    process.prepare()
    code = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None where there never was one
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    process.prepare()
    sys.exit(main())
