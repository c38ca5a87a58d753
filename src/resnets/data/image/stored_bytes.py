"""Where the bytes of an image lie: in a file of its own, or in a stretch of a tar, which has an address like a path.

`shards/train-000003.tar@5120+48213/00017042.jpg` is the member 00017042.jpg: 48,213 bytes from byte 5,120 of the tar on.
"""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from resnets.errors import ImageError, printable

_ADDRESS = re.compile(r"(?P<tar>.+\.tar)@(?P<offset>\d+)\+(?P<size>\d+)[/\\](?P<member>[^/\\]+)", re.DOTALL)


class DecodeError(ImageError):
    """An image that cannot be read.

    Attributes:
        path: of the file, or the name that was given for bytes.
        kind: missing (or not to be opened), directory, empty, not-an-image, truncated (or damaged), bomb or unsupported.
        reason: what was found and what to do, without the path.
    """

    def __init__(self, path: str, kind: str, reason: str) -> None:
        super().__init__(f"'{printable(path)}' {reason}")
        self.path = path
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, str, str]]:
        return DecodeError, (self.path, self.kind, self.reason)  # errors travel between processes


def tar_address(tar: str, offset: int, size: int, member: str) -> str:
    """What `opened` takes for the `size` bytes from `offset` on of the file `tar`."""
    return f"{tar}@{offset}+{size}/{member}"


def open_image_file(source: str | Path, name: str | None = None) -> BinaryIO:
    """The bytes of an image, to be read once, given its path or its address in a tar.

    Args:
        name: what the image is called in an error; `source` by default.

    Raises:
        DecodeError: there is nothing to read; of a tar that was cut short, tar and member are named.
    """
    path = str(source) if name is None else name
    found = _ADDRESS.fullmatch(str(source))
    if found and not os.path.lexists(source):  # a folder can have such a name, too
        with _file(found["tar"], path) as tar:
            return io.BytesIO(_stretch(tar, int(found["offset"]), int(found["size"]), path, found["tar"]))
    return _file(source, path)


def _stretch(tar: BinaryIO, offset: int, size: int, path: str, shown: str) -> bytes:
    try:
        length = tar.seek(0, os.SEEK_END)
        if length < offset + size:  # before memory is taken for them
            reason = f"ends beyond its tar: '{shown}' is cut short, at byte {length:,}; write the shards again."
            raise DecodeError(path, "truncated", reason)
        tar.seek(offset)
        return tar.read(size)
    except OSError as error:
        raise DecodeError(path, "missing", f"cannot be read ({short_reason(error)}); check the disk.") from error


def _file(source: str | Path, path: str) -> BinaryIO:
    try:
        kind = os.stat(source).st_mode
        if stat.S_ISREG(kind):
            return open(source, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DecodeError(path, "missing", "does not exist; check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = f"cannot be opened ({short_reason(error)}); check the path and its rights."
        raise DecodeError(path, "missing", reason) from error
    if stat.S_ISDIR(kind):
        raise DecodeError(path, "directory", "is a folder, not an image; name a file in it.")
    # Reading a pipe or a device could wait for ever.
    raise DecodeError(path, "unsupported", "is a pipe or a device; copy its content to an ordinary file.")


def short_reason(error: BaseException) -> str:
    """What went wrong, in the words of the system or the library, on one line of at most 100 letters."""
    text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
    return " ".join(text.split())[:100] or type(error).__name__
