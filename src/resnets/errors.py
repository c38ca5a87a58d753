"""Exceptions with messages for users, and the wording that messages share: lists, plurals, suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

# The file in a Git repository without its LFS objects (git-lfs.com/spec): its first bytes, and how messages call it.
LFS_POINTER = b"version https://git-lfs"
LFS = "a Git LFS pointer, which stands for the file; run 'git lfs pull' to get it"


class UserError(ValueError):
    """What was asked for cannot be done as asked: a missing path, an unknown name, a value out of range.

    The message is one line that names what was received and says what to do. The command line prints it without a
    traceback and ends with exit code 2.
    """


class ImageError(UserError):
    """An image cannot be used: its file cannot be read, or it is smaller than what is asked for can take.

    Attributes:
        reason: what is wrong with it and what to do, without its name.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.reason = message


class JobError(RuntimeError):
    """The job was started and failed: a loss that became NaN, a full disk, unreadable images.

    The command line prints the message without a traceback and ends with exit code 1.
    """


def suggestion(received: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """` Did you mean 'x'?` for the nearest of the `known` names, or an empty string when none is near.

    `shown` has how a name is written for the user where that is longer, such as a path.
    """
    near = difflib.get_close_matches(received, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{(shown or {}).get(near[0], near[0])}'?" if near else ""


LIST_LIMIT = 20  # a message names this many files or classes, and counts the rest


def pluralize(count: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_bytes(size: float) -> str:
    """`65.4 MB`: bytes in the largest unit, of powers of 1000, that gives a number of at least 1."""
    if size < 1000:
        return pluralize(round(size), "byte")
    units = ("kB", "MB", "GB", "TB", "PB")
    power = next((power for power in range(1, len(units)) if size < 1000 ** (power + 1)), len(units))
    return f"{size / 1000**power:,.1f} {units[power - 1]}"


def format_list(items: Iterable[object], limit: int = LIST_LIMIT, *, quote: bool = True, separator: str = ", ") -> str:
    """`'a', 'b' and 7 more`: the first `limit` items, made printable, and the number of the others.

    Args:
        quote: whether each item stands in quotes.
        separator: between the items; "; " for items that hold commas.
    """
    texts = [printable(str(item)) for item in items]
    shown = num_shown(len(texts), limit)
    text = separator.join(f"'{each}'" if quote else each for each in texts[:shown])
    if shown == len(texts):
        return text
    return f"{text}{separator.rstrip() if separator != ', ' else ''} and {len(texts) - shown:,} more"


def num_shown(count: int, limit: int) -> int:
    """How many of `count` items to show: at most `limit`, or one more, since "and 1 more" would be as long."""
    return count if count <= limit + 1 else limit


def printable(text: str) -> str:
    r"""One line for a terminal: what would steer it, such as an escape or a line break in a file name, as `\x1b`, `\n`.

    Bytes of a file name that are no text stand in it as surrogates; they stay as they are, and the stream writes the bytes.
    """
    return "".join(each if each.isprintable() or "\udc80" <= each <= "\udcff" else ascii(each)[1:-1] for each in text)
