"""Check image files: read a file once, hash it, and find out whether it can be decoded; in parallel processes."""

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

from resnets.data.check import near_duplicates
from resnets.data.image.decode import DecodeError, ImageInfo, decode, decode_image, inspect
from resnets.data.image.open_image_file import open_image_file, short_reason
from resnets.data.image.pillow_warnings import ignore_pillow_warnings
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import JobError
from resnets.progress import progress_bar

Result = TypeVar("Result")

VERIFY_SIDE = 64  # a JPEG is read to its end at any scale, and decoded faster at a small one
CHUNK = 16  # images for a process at a time
AHEAD = 4  # chunks for each process that are requested before the result of the first of them


@dataclass(frozen=True)
class FileResult:
    """What was found in a file; `info` and `thumbnail` are None if the image cannot be read, and `error` says why."""

    path: str
    bytes: int
    sha256: str
    info: ImageInfo | None = None
    thumbnail: np.ndarray | None = None  # (16, 16) uint8
    error: DecodeError | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, after the orientation is applied."""
        assert self.info
        transposed = self.info.orientation >= 5
        return (self.info.height, self.info.width) if transposed else (self.info.width, self.info.height)


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
        # The whole file is read at any scale, so that damage is noticed; a small one is decoded faster.
        thumbnail = near_duplicates.make_thumbnail(decode(content, name=path, min_side=4 * near_duplicates.SIDE))
    except DecodeError as error:
        return FileResult(path, len(content), digest, info, error=error)
    return FileResult(path, len(content), digest, info, thumbnail)


def verify_image(path: str) -> tuple[str, DecodeError | None]:
    """The SHA-256 of a file (empty if it cannot be read), and the error if training cannot use the image.

    It is decoded to its end, as in training and evaluation, so that an image without an error here has none later.
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
    function: Callable[[str], Result], paths: Sequence[str], *, workers: int, description: str
) -> Iterator[Result]:
    """The result of `function` for every path, in order, computed by `workers` processes, with a progress bar.

    Raises:
        JobError: a process was killed, most likely because memory ran out; or a file cannot be read within
            RESNETS_TIMEOUT_MINUTES, and is named.
    """
    bar: dict[str, Any] = {"description": description, "total": len(paths), "unit": "images"}
    if workers <= 1 or len(paths) <= 2 * CHUNK:
        yield from progress_bar(ordered_map(function, paths, workers=0, ahead=0), **bar)
        return
    num_done = RawArray("q", -(-len(paths) // CHUNK))
    pool = ProcessPoolExecutor(workers, initializer=_init_worker, initargs=(num_done,))
    chunks = (_Chunk(pool, function, paths, num_done, index) for index in range(len(num_done)))
    # One thread waits for the processes.
    results = ordered_map(_Chunk.results, chunks, workers=1, ahead=AHEAD * workers)
    finished = False
    try:
        yield from progress_bar(chain.from_iterable(results), **bar)
        finished = True
    except BrokenProcessPool as error:
        raise JobError("A process that reads images was killed; memory may be short. Use `workers=1`.") from error
    finally:
        if not finished:  # the processes only read, and one may hang in it
            for process in list((pool._processes or {}).values()):
                process.kill()
            results.close()
        pool.shutdown(cancel_futures=True)


class _Chunk:
    """Paths that a process works through; `path` is the current one."""

    def __init__(
        self, pool: Executor, function: Callable[[str], Result], paths: Sequence[str], num_done: Any, index: int
    ) -> None:
        self.paths, self.num_done, self.index = paths[index * CHUNK : (index + 1) * CHUNK], num_done, index
        self.future = pool.submit(_map_chunk, function, self.paths, index)

    @property
    def path(self) -> str:
        return self.paths[min(self.num_done[self.index], len(self.paths) - 1)]

    def results(self) -> list[Any]:
        return self.future.result()


_num_done: Any = None  # in a process of the pool: the number of paths of each chunk that are done


def _map_chunk(function: Callable[[str], Result], paths: Sequence[str], index: int) -> list[Result]:
    results = []
    for path in paths:
        results.append(function(path))
        _num_done[index] += 1
    return results


def _init_worker(num_done: Any) -> None:
    global _num_done
    _num_done = num_done
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the process group; the main process ends its workers
    ignore_pillow_warnings()
