"""The list of the images of a job, in a file of its folder, divided into parts of consecutive paths."""

from __future__ import annotations  # array[int] is a type for checkers only

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from resnets.errors import UserError

FILE = "_paths"  # each path as UTF-8, followed by a zero byte
END = b"\0"


@dataclass(frozen=True)
class ImageList:
    """Where the parts of a list are in its file; of the paths, memory holds none.

    Attributes:
        count: number of images.
        sha256: of the bytes of the file.
        has_relative_paths: whether the list means other files in another working directory.
        ends: the byte after the last path of each part.
    """

    count: int
    sha256: str
    has_relative_paths: bool
    ends: array[int]

    def __len__(self) -> int:
        """The number of parts."""
        return len(self.ends)

    def span(self, number: int) -> tuple[int, int]:
        """The first byte of the part `number`, from 0, and the byte after it."""
        return (self.ends[number - 1] if number else 0), self.ends[number]


def scan(paths: Iterable[str], images_per_part: int, file: BinaryIO | None = None) -> ImageList:
    """The list of `paths`, which are written to `file`, if one is given, as they come.

    Raises:
        UserError: a path is not UTF-8, which Parquet needs.
    """
    digest, ends = hashlib.sha256(), array("q")
    count = size = 0
    has_relative_paths = False
    for path in paths:
        content = _encoded(path)
        size += len(content)
        if count % images_per_part:
            ends[-1] = size
        else:
            ends.append(size)
        count += 1
        has_relative_paths = has_relative_paths or not os.path.isabs(path)
        digest.update(content)
        if file is not None:
            file.write(content)
    return ImageList(count, digest.hexdigest(), has_relative_paths, ends)


def read_part(folder: Path, span: tuple[int, int]) -> list[str]:
    """The paths of the part at `span` of the list in `folder`."""
    with (folder / FILE).open("rb") as file:
        file.seek(span[0])
        content = file.read(span[1] - span[0])
    return content.decode().split(END.decode())[:-1]


def in_shard(parts: int, shard: tuple[int, int]) -> Iterator[int]:
    """The numbers, from 0, of every n-th of the parts, for the shard (i, n) with i from 1; each part is in one shard."""
    return iter(range(shard[0] - 1, parts, shard[1]))


def parse_shard(text: str | None) -> tuple[int, int]:
    """(3, 64) for "3/64"; all parts for None.

    Raises:
        UserError: it is no such text.
    """
    if text is None:
        return 1, 1
    index, _, count = text.partition("/")
    if not (_is_number(index) and _is_number(count) and 1 <= int(index) <= int(count)):
        raise UserError(f"`shard` is i/n, such as 3/64, with i from 1 to n; received '{text}'.")
    return int(index), int(count)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _encoded(path: str) -> bytes:
    try:
        content = path.encode()
    except UnicodeEncodeError:
        raise UserError(f"The name of {path!a} is not UTF-8, which Parquet needs: rename it, or write CSV.") from None
    if END in content:
        raise UserError(f"The name of {path!a} has a zero byte, which no file can have.")
    return content + END
