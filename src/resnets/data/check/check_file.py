"""What one file turns out to be when it is read: its header, its content, and whether it can be decoded at all."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from multiprocessing.sharedctypes import RawArray
from typing import Any, TypeVar

import numpy as np

from resnets import ranks
from resnets.data.check import near_duplicates
from resnets.data.image.decode import DecodeError, ImageInfo, decode, decode_image, inspect
from resnets.data.image.stored_bytes import open_image_file, short_reason
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError
from resnets.progress import progress_bar

Result = TypeVar("Result")

VERIFY_SIDE = 64  # a JPEG is read to its end at any scale, and a small one is made faster
CHUNK = 16  # images that a process takes at a time
AHEAD = 4  # chunks for each process that wait for the one before them


@dataclass(frozen=True)
class FileResult:
    """What was found in a file; `info` and `thumbnail` are None when the image cannot be read, `error` says why."""

    path: str
    bytes: int
    sha256: str
    info: ImageInfo | None = None
    thumbnail: np.ndarray | None = None  # (16, 16) uint8
    error: DecodeError | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as it is meant to be seen."""
        assert self.info
        turned = self.info.orientation >= 5
        return (self.info.height, self.info.width) if turned else (self.info.width, self.info.height)


def inspect_file(path: str) -> FileResult:
    """Read and decode a whole file, once."""
    try:
        with open_image_file(path) as file:
            content = file.read()
    except DecodeError as error:
        return FileResult(path, 0, "", error=error)
    except OSError as error:
        reason = f"cannot be opened ({error.strerror})."
        return FileResult(path, 0, "", error=DecodeError(path, "missing", reason))
    digest = hashlib.sha256(content).hexdigest()
    info = None
    try:
        info = inspect(content, name=path)
        # The whole file is read at any scale, so that damage shows; a small one is decoded faster.
        thumbnail = near_duplicates.thumbnail(decode(content, name=path, min_side=4 * near_duplicates.SIDE))
    except DecodeError as error:
        return FileResult(path, len(content), digest, info, error=error)
    return FileResult(path, len(content), digest, info, thumbnail)


def verify_image(path: str) -> tuple[str, DecodeError | None]:
    """The SHA-256 of a file (empty where it cannot be read), and why it is no image that can be trained on.

    It is decoded to its end, as training and evaluation decode it: what passes here fails nowhere later.
    """
    try:
        with open_image_file(path) as file:
            content = file.read()
    except DecodeError as error:
        return "", error
    except OSError as error:
        return "", DecodeError(path, "missing", f"cannot be read ({short_reason(error)}); check the disk.")
    digest = hashlib.sha256(content).hexdigest()
    try:
        decode_image(content, name=path, min_side=VERIFY_SIDE)
    except DecodeError as error:
        return digest, error
    return digest, None


def map_in_processes(
    work: Callable[[str], Result], paths: Sequence[str], *, workers: int, what: str
) -> Iterator[Result]:
    """The result of `work` for every path, in order, computed by so many processes; progress is shown.

    Raises:
        JobError: a process was killed, most likely because memory ran out; or a file cannot be read to its end after the
            patience of this process, and is named.
    """
    shown = {"description": what, "total": len(paths), "unit": "images"}
    if workers <= 1 or len(paths) <= 2 * CHUNK:
        yield from progress_bar(ordered_map(work, paths, workers=0, ahead=0), **shown)  # type: ignore[arg-type]
        return
    places = RawArray("q", -(-len(paths) // CHUNK))
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(places,))
    chunks = (_Chunk(pool, work, paths, places, number) for number in range(len(places)))
    results = ordered_map(
        _Chunk.results, chunks, workers=1, ahead=AHEAD * workers
    )  # one thread waits for the processes
    whole = False
    try:
        yield from progress_bar(chain.from_iterable(results), **shown)  # type: ignore[arg-type]
        whole = True
    except BrokenProcessPool as error:
        raise JobError("A process that reads images was killed; memory may be short. Use `workers=1`.") from error
    finally:
        if not whole:  # they only read, and one may be stuck in it
            for process in list((pool._processes or {}).values()):
                process.kill()
            results.close()
        pool.shutdown(cancel_futures=True)


class _Chunk:
    """Paths that a process works through; `path` is the one that it is at."""

    def __init__(
        self, pool: Executor, work: Callable[[str], Result], paths: Sequence[str], places: Any, number: int
    ) -> None:
        self.paths, self.places, self.number = paths[number * CHUNK : (number + 1) * CHUNK], places, number
        self.future = pool.submit(_worked, work, self.paths, number)

    @property
    def path(self) -> str:
        return self.paths[min(self.places[self.number], len(self.paths) - 1)]

    def results(self) -> list[Any]:
        return self.future.result()


_places: Any = None  # in a process of the pool: how many paths of each chunk are done


def _worked(work: Callable[[str], Result], paths: Sequence[str], number: int) -> list[Result]:
    made = []
    for path in paths:
        made.append(work(path))
        _places[number] += 1
    return made


def _start(places: Any) -> None:
    global _places
    _places = places
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process ends its workers
    ranks.ignore_pillow_warnings()
