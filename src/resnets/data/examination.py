"""What one file turns out to be when it is read: its header, its content, and whether it can be decoded at all."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from resnets import processes
from resnets.data import likeness
from resnets.data.decode import DecodeError, PictureInfo, decode, decode_image, inspect
from resnets.data.files import opened, short
from resnets.errors import JobError
from resnets.progress import track

Result = TypeVar("Result")

JUDGED_SIDE = 64  # a JPEG is read to its end at any scale, and a small one is made faster
CHUNK = 16  # pictures that a process takes at a time


@dataclass(frozen=True)
class Examination:
    """What was found in a file; `info` and `thumbnail` are None when the picture cannot be read, `error` says why."""

    path: str
    bytes: int
    sha256: str
    info: PictureInfo | None = None
    thumbnail: np.ndarray | None = None  # (16, 16) uint8
    error: DecodeError | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as it is meant to be seen."""
        assert self.info
        turned = self.info.orientation >= 5
        return (self.info.height, self.info.width) if turned else (self.info.width, self.info.height)


def examine(path: str) -> Examination:
    """Read and decode a whole file, once."""
    try:
        with opened(path) as file:
            content = file.read()
    except DecodeError as error:
        return Examination(path, 0, "", error=error)
    except OSError as error:
        reason = f"cannot be opened ({error.strerror})."
        return Examination(path, 0, "", error=DecodeError(path, "missing", reason))
    digest = hashlib.sha256(content).hexdigest()
    info = None
    try:
        info = inspect(content, name=path)
        # The whole file is read at any scale, so that damage shows; a small one is decoded faster.
        thumbnail = likeness.thumbnail(decode(content, name=path, min_side=4 * likeness.SIDE))
    except DecodeError as error:
        return Examination(path, len(content), digest, info, error=error)
    return Examination(path, len(content), digest, info, thumbnail)


def judge(path: str) -> tuple[str, DecodeError | None]:
    """The SHA-256 of a file (empty where it cannot be read), and why it is no image that can be trained on.

    It is decoded to its end, as training and evaluation decode it: what passes here fails nowhere later.
    """
    try:
        with opened(path) as file:
            content = file.read()
    except DecodeError as error:
        return "", error
    except OSError as error:
        return "", DecodeError(path, "missing", f"cannot be read ({short(error)}); check the disk.")
    digest = hashlib.sha256(content).hexdigest()
    try:
        decode_image(content, name=path, min_side=JUDGED_SIDE)
    except DecodeError as error:
        return digest, error
    return digest, None


def spread(work: Callable[[str], Result], paths: Sequence[str], *, workers: int, what: str) -> Iterator[Result]:
    """The result of `work` for every path, in order, computed by so many processes; progress is shown.

    Raises:
        JobError: a process was killed, most likely because memory ran out.
    """
    shown = {"what": what, "total": len(paths), "unit": "pictures"}
    if workers <= 1 or len(paths) <= 2 * CHUNK:
        yield from track(map(work, paths), **shown)  # type: ignore[arg-type]
        return
    pool = ProcessPoolExecutor(workers, initializer=_start)
    try:
        yield from track(pool.map(work, paths, chunksize=CHUNK), **shown)  # type: ignore[arg-type]
    except BrokenProcessPool as error:
        raise JobError("A process that reads pictures was killed; memory may be short. Use `workers=1`.") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends its workers
    processes.ignore_image_remarks()
