"""Zip archives that somebody else wrote, judged by their directory before anything in them is unpacked."""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from resnets.errors import UserError

MEMBERS = 100_000  # files in an archive; a checkpoint of the 1202-layer network has about 10,000
DIRECTORY = 32 * 2**20  # bytes of directory; Python keeps about ten times as much in memory
RATIO = 20  # bytes unpacked for one byte of the archive; trained weights reach 1.1
SLACK = 2**20  # bytes that even a tiny archive may hold

_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_ENCRYPTED = 0x1
# What zipfile raises over damage: names that are no text, methods that it lacks, packed data that are none.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, UnicodeError, OverflowError, IndexError,
           NotImplementedError, RuntimeError)  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`, whose directory is sound: names once and inside, nothing encrypted, no bomb.

    Raises:
        UserError: it is none of that; or, while it is open, a member is damaged.
    """
    try:
        with path.open("rb") as file:
            _check_end(path, file)
            with zipfile.ZipFile(file) as archive:
                _check_members(path, archive.infolist())
                yield archive
    except _DAMAGE as error:
        raise UserError(f"'{path}' is a damaged zip archive ({_one_line(error)}). Fetch it again.") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror or error}.") from None


def unpack(path: Path, archive: zipfile.ZipFile, name: str, target: IO[bytes]) -> None:
    """Write the member `name` to `target`; its directory entry limits how much that can be."""
    info = archive.getinfo(name)
    left = info.file_size
    with archive.open(info) as source:
        while block := source.read(min(2**20, left + 1)):
            left -= len(block)
            if left < 0:
                raise UserError(f"'{path}' holds more in '{name}' than it says. Fetch it again.")
            target.write(block)


def content(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The bytes of the member `name`, at most `limit` of them.

    Raises:
        UserError: there are more.
    """
    with archive.open(name) as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise UserError(f"'{path}' holds more than {limit:,} bytes in '{name}', which is not believed.")
    return data


def _check_end(path: Path, file: BinaryIO) -> None:
    """The number of members and the size of the directory, before Python builds an object for each of them."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - 22 - 0xFFFF - 20 - 56)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 22:
        raise UserError(f"'{path}' is cut off: a zip archive without its end, after {size:,} bytes. Fetch it again.")
    count, length = struct.unpack_from("<HI", tail, end + 10)
    end64 = tail.rfind(_END64, 0, end)
    if end64 >= 0 and len(tail) >= end64 + 56:
        count64, length64 = struct.unpack_from("<QQ", tail, end64 + 32)
        count, length = max(count, count64) if count != 0xFFFF else count64, max(length64, length % 0xFFFFFFFF)
    if count > MEMBERS or (length > DIRECTORY and length != 0xFFFFFFFF):
        raise UserError(f"'{path}' claims {count:,} files in a directory of {length:,} bytes, which is not believed.")
    file.seek(0)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    size = path.stat().st_size
    if len(members) > MEMBERS:
        raise UserError(f"'{path}' holds {len(members):,} files, which is not believed.")
    if len({info.filename for info in members}) < len(members):
        raise UserError(f"'{path}' holds a file twice, so it is not clear which one counts.")
    for info in members:
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise UserError(f"'{path}' holds a file with a path that leads outside: {info.filename[:80]!r}.")
        if info.flag_bits & _ENCRYPTED:
            raise UserError(f"'{path}' is encrypted, which no library's weights are.")
        if info.header_offset + info.compress_size > size:
            raise UserError(f"'{path}' is cut off within {info.filename[:80]!r}. Fetch it again.")
    claimed = sum(info.file_size for info in members)
    packed = sum(info.compress_size for info in members)
    if claimed > RATIO * size + SLACK or packed > size:
        raise UserError(f"'{path}' has {size:,} bytes and claims to unpack to {claimed:,}, which is not believed.")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
