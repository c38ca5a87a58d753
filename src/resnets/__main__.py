"""The command `resnets`, which is also `python -m resnets`."""

from __future__ import annotations

import sys
from typing import NoReturn

from resnets.cli import process
from resnets.cli.app import main


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    process.prepare()
    sys.exit(main())


if __name__ == "__main__":
    run()
