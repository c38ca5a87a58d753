"""What a file is by its bytes, whatever it is called."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from resnets.data.datasets.dataset import SHOWN, counted
from resnets.data.thread_pool import in_order
from resnets.errors import JobError
from resnets.progress import progress_bar

THREADS = 8  # reading waits for the disk, and hashing lets other threads run
CHUNK = 32  # files at a time, since to hand one over takes longer than to hash a small one


@dataclass
class _Chunk:
    """Files that a thread hashes one after the other; `path` is the one that it is at."""

    paths: Sequence[str]
    failures: list[str]
    path: str = ""

    def hashes(self) -> list[str]:
        return [self._hash(path) for path in self.paths]

    def _hash(self, path: str) -> str:
        self.path = path
        try:
            return sha256(path)
        except OSError as error:
            self.failures.append(f"'{path}': {error.strerror}")
            return ""


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the bytes of a file, as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(paths: Sequence[str]) -> list[str]:
    """The SHA-256 of each file, in order.

    Raises:
        JobError: files cannot be read; each is named (the first twenty of them).
    """
    failures: list[str] = []
    chunks = [_Chunk(paths[start : start + CHUNK], failures) for start in range(0, len(paths), CHUNK)]
    made = in_order(_Chunk.hashes, chunks, workers=THREADS, ahead=2 * THREADS)
    found = list(
        progress_bar(itertools.chain.from_iterable(made), description="hashing", total=len(paths), unit="files")
    )
    if failures:
        more = f"; and {len(failures) - SHOWN:,} more" if len(failures) > SHOWN else ""
        raise JobError(f"{counted(len(failures), 'file')} cannot be read: {'; '.join(sorted(failures)[:SHOWN])}{more}.")
    return found
