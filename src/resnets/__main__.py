"""The command `resnets`, which is also `python -m resnets`."""

import sys
from typing import NoReturn


def run() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        from resnets.cli import process_settings
        from resnets.cli.main import main

        process_settings.prepare()
    except KeyboardInterrupt:  # these imports take a moment, too; `main` handles what follows
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    run()
