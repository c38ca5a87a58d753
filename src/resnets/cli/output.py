"""Results on stdout, also where a stream is missing, closed, full, or has an encoding with few characters."""

import codecs
import contextlib
import io
import json
import os
import sys
from typing import Any

from resnets.cli.flags import as_flags
from resnets.message_format import printable

# Characters of our own lines and tables, and their replacements where an encoding lacks them; columns keep their width.
PLAIN = dict.fromkeys("–—−─━", "-") | dict.fromkeys("█▉▊▋▌▍▎▏▇▆▅▄▃▂▁", "#") | dict.fromkeys("…≈±", "~")
PLAIN |= {"×": "x", "·": ".", "→": ">", "’": "'", "≥": ">", "≤": "<", "│": "|"}
HANDLER = "resnets"
PIPED_WIDTH = 200  # columns of a table in a file or pipe, which has no width of its own


def prepare_streams() -> bool:
    """Open the standard streams that are closed, and let stdout print any character. Returns whether stdout was open.

    A closed descriptor is opened on /dev/null: otherwise the next file that is opened would get its number, and messages of
    libraries would be written into that file.
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

    `typer.echo` treats an ASCII stdout as misconfigured and writes UTF-8 to it.
    """
    print(text, end=end, flush=True)


def print_line(text: object) -> None:
    """Print a line of a result for a person: arguments as flags, control characters escaped.

    Names and notes within it come from checkpoints, recipes and folders that others have made.
    """
    echo(printable(as_flags(str(text))))


def print_json(value: Any) -> None:
    """Print a result for a program."""
    echo(json.dumps(value, indent=2))


def console_width() -> int | None:
    """Columns for a table; None if rich can determine them."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return None if known else PIPED_WIDTH


def flush() -> None:
    """Flush both streams; what can no longer be written is dropped, so that Python does not fail over it when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _encoded(error: UnicodeError) -> tuple[str | bytes, int]:
    """The replacement of a character that the encoding lacks: a plain one or its number; bytes of a file name stay."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return PLAIN.get(character) or ascii(character)[1:-1], error.start + 1
