"""The list of the images of a job, in a file of its folder, divided into parts of consecutive paths."""

from __future__ import annotations  # array[int] is a type for checkers only

import hashlib
import itertools
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from resnets.errors import JobError, UserError
from resnets.tasks.predict_parts.part import Part

FILE = "_paths"  # each path as UTF-8, followed by a zero byte
END = b"\0"
_WRITE_AGAIN = "Run the command again with `resume=True`, which writes it anew."


@dataclass(frozen=True)
class ImageList:
    """Where the parts of a list are in its file; of the paths, memory holds none.

    Attributes:
        count: number of images.
        sha256: of the bytes of the file.
        has_relative_paths: whether the list means other files in another working directory.
        ends: the byte after the last path of each part.
        digests: the SHA-256 of each part, 32 bytes each.
    """

    count: int
    sha256: str
    has_relative_paths: bool
    ends: array[int]
    digests: bytes

    def __len__(self) -> int:
        """The number of parts."""
        return len(self.ends)

    def part(self, number: int) -> Part:
        start = self.ends[number - 1] if number else 0
        return Part(number, start, self.ends[number], self.digests[32 * number : 32 * number + 32].hex())


def scan(paths: Iterable[str], images_per_part: int, file: BinaryIO | None = None) -> ImageList:
    """The list of `paths`, which are written to `file`, if one is given, as they come.

    Raises:
        UserError: a path is not UTF-8, which Parquet needs.
    """
    digest, ends, digests = hashlib.sha256(), array("q"), bytearray()
    count = size = 0
    has_relative_paths = False
    for some in _batched(paths, images_per_part):
        content = b"".join(map(_encoded, some))
        count, size = count + len(some), size + len(content)
        ends.append(size)
        digests += hashlib.sha256(content).digest()
        digest.update(content)
        has_relative_paths = has_relative_paths or not all(map(os.path.isabs, some))
        if file is not None:
            file.write(content)
    return ImageList(count, digest.hexdigest(), has_relative_paths, ends, bytes(digests))


def _batched(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(paths)
    while some := list(itertools.islice(remaining, size)):
        yield some


def read_part(folder: Path, part: Part) -> list[str]:
    """The paths of a part of the list in `folder`.

    Raises:
        JobError: the list is not that of the part, or cannot be read.
    """
    try:
        with (folder / FILE).open("rb") as file:
            file.seek(part.start)
            content = file.read(part.end - part.start)
    except OSError as error:
        raise JobError(f"'{folder / FILE}' cannot be read: {error.strerror}. {_WRITE_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != part.sha256:
        raise JobError(f"'{folder / FILE}' was changed while its parts were computed. {_WRITE_AGAIN}")
    return content.decode().split(END.decode())[:-1]


def _encoded(path: str) -> bytes:
    try:
        content = path.encode()
    except UnicodeEncodeError:
        raise UserError(f"The name of {path!a} is not UTF-8, which Parquet needs: rename it, or write CSV.") from None
    if END in content:
        raise UserError(f"The name of {path!a} has a zero byte, which no file can have.")
    return content + END
