"""The command `resnets`, which is also `python -m resnets`."""

from __future__ import annotations

import sys
from typing import NoReturn

from resnets.cli import process_settings
from resnets.cli.main import main


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    process_settings.prepare()
    sys.exit(main())


if __name__ == "__main__":
    run()
