"""Open the bytes of an image: a file of its own, or a range of a tar, which has an address like a path.

`shards/train-000003.tar@5120+48213/00017042.jpg` is the member 00017042.jpg: the 48,213 bytes of the tar from byte 5,120 on.
"""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from resnets.errors import ImageError
from resnets.message_format import printable

_ADDRESS = re.compile(r"(?P<tar>.+\.tar)@(?P<offset>\d+)\+(?P<size>\d+)[/\\](?P<member>[^/\\]+)", re.DOTALL)


class DecodeError(ImageError):
    """An image that cannot be read.

    Attributes:
        path: of the file, or the name for bytes.
        kind: missing (or not to be opened), directory, empty, not-an-image, truncated (or damaged), bomb or unsupported.
        reason: what is wrong and what to do, without the path.
    """

    def __init__(self, path: str, kind: str, reason: str) -> None:
        super().__init__(f"'{printable(path)}' {reason}")
        self.path = path
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, str, str]]:
        return DecodeError, (self.path, self.kind, self.reason)  # errors are sent between processes


def tar_address(tar: str, offset: int, size: int, member: str) -> str:
    """The address for `open_image_file` of the `size` bytes from `offset` on of the file `tar`."""
    return f"{tar}@{offset}+{size}/{member}"


def open_image_file(location: str | Path, name: str | None = None) -> BinaryIO:
    """A stream of the bytes of an image, given its path or its address in a tar.

    Args:
        name: what the image is called in an error; `location` by default.

    Raises:
        DecodeError: there is nothing to read; of a truncated tar, tar and member are named.
    """
    path = str(location) if name is None else name
    address = _ADDRESS.fullmatch(str(location))
    if address and not os.path.lexists(location):  # a folder can have such a name, too
        with _open_regular_file(address["tar"], path) as tar:
            content = _read_range(tar, int(address["offset"]), int(address["size"]), path, address["tar"])
            return io.BytesIO(content)
    return _open_regular_file(location, path)


def _read_range(tar: BinaryIO, offset: int, size: int, path: str, shown: str) -> bytes:
    try:
        length = tar.seek(0, os.SEEK_END)
        if length < offset + size:  # before memory is allocated for them
            reason = f"ends beyond its tar: '{shown}' is cut short, at byte {length:,}; write the shards again."
            raise DecodeError(path, "truncated", reason)
        tar.seek(offset)
        return tar.read(size)
    except OSError as error:
        raise DecodeError(path, "missing", f"cannot be read ({short_reason(error)}); check the disk.") from error


def _open_regular_file(location: str | Path, path: str) -> BinaryIO:
    try:
        kind = os.stat(location).st_mode
        if stat.S_ISREG(kind):
            return open(location, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DecodeError(path, "missing", "does not exist; check the path.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = f"cannot be opened ({short_reason(error)}); check the path and its rights."
        raise DecodeError(path, "missing", reason) from error
    if stat.S_ISDIR(kind):
        raise DecodeError(path, "directory", "is a folder, not an image; name a file in it.")
    # A pipe or a device could block forever.
    raise DecodeError(path, "unsupported", "is a pipe or a device; copy its content to a regular file.")


def short_reason(error: BaseException) -> str:
    """The message of the system or the library, on one line of at most 100 characters."""
    text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
    return " ".join(text.split())[:100] or type(error).__name__
