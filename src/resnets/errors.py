"""The ways in which a job ends badly for a reason that its user can understand."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

# What stands in place of a large file in a Git repository without its LFS objects (git-lfs.com/spec): how such a file begins,
# and what to call it.
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


def printable(text: str) -> str:
    r"""One line for a terminal: what would steer it, such as an escape or a line break in a file name, as `\x1b`, `\n`.

    Bytes of a file name that are no text stand in it as surrogates; they stay as they are, and the stream writes the bytes.
    """
    return "".join(each if each.isprintable() or "\udc80" <= each <= "\udcff" else ascii(each)[1:-1] for each in text)
