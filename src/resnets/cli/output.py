"""stdout and stderr of the command line: missing, closed, full, or of an encoding that has few letters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys

from resnets.cli.argument_names import as_flags
from resnets.errors import printable

# Letters of our own lines and tables, and what stands for them where an encoding lacks them; a column stays as wide.
PLAIN = dict.fromkeys("–—−─━", "-") | dict.fromkeys("█▉▊▋▌▍▎▏▇▆▅▄▃▂▁", "#") | dict.fromkeys("…≈±", "~")
PLAIN |= {"×": "x", "·": ".", "→": ">", "’": "'", "≥": ">", "≤": "<", "│": "|"}
HANDLER = "resnets"


def prepare() -> bool:
    """Give the process streams that can be printed to. Returns whether stdout was there.

    A closed descriptor is opened on /dev/null, since the next file that is opened would take its number, and a library's
    remarks would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    missing = [
        name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None or getattr(sys, name).closed
    ]
    for name in missing:
        setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115 - for good
    codecs.register_error(HANDLER, _encoded)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=HANDLER)
    return "stdout" not in missing


def echo(text: object, end: str = "\n") -> None:
    """Print a result to stdout at once.

    Not by `typer.echo`, which takes a stdout in ASCII for a mistake and writes UTF-8 to it.
    """
    print(text, end=end, flush=True)


def tell(text: object) -> None:
    """Print a line of a result for a person: arguments as flags, and nothing of it steers the terminal.

    Names and notes within it come from checkpoints, recipes and folders that others have made.
    """
    echo(printable(as_flags(str(text))))


def settle() -> None:
    """Flush both streams; what cannot be written any more is given up, so that Python does not fail over it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _encoded(error: UnicodeError) -> tuple[str | bytes, int]:
    """What to print for letters that the encoding lacks: a plain one, or its number; bytes of a file name leave as they came."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return PLAIN.get(letter) or ascii(letter)[1:-1], error.start + 1
