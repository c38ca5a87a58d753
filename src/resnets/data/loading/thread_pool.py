"""Work on many images by threads, ahead of whoever waits for it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from resnets import ranks
from resnets.errors import JobError, printable

Item = TypeVar("Item")
Result = TypeVar("Result")

END_SECONDS = 5.0  # for what was begun to end, when the caller stops early


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None, ahead: int
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in the order of the items.

    Memory stays flat: `items` is read at most `ahead` further than what was yielded.

    Args:
        items: an item, or the last part of it where it is a tuple, is named in an error: a path, or something with a `path`.
            A longer piece of work changes its `path` as it gets on, and is waited for as long as it does.
        workers: threads; None for one a processor, 0 to begin an item only when it is asked for. Threads suffice since
            decoding does not hold Python's lock; and even a single item is the work of one, since a read from a disk that
            does not answer cannot be ended.

    Raises:
        JobError: an item is not done after the patience of this process (RESNETS_TIMEOUT_MINUTES).
    """
    workers = ranks.cpus_per_rank() if workers is None else workers
    if workers == 0:
        workers, ahead = 1, 0
    patience = ranks.timeout_seconds()
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    threads = _Threads(function, workers)
    try:
        for item in items:
            waiting.append((item, threads.submit(item)))
            if len(waiting) > ahead:
                yield _result(*waiting.popleft(), patience)
        while waiting:
            yield _result(*waiting.popleft(), patience)
    except (_StuckError, KeyboardInterrupt):
        threads.most_seconds = 0
        raise
    finally:  # the caller stopped early, or an image failed: what was not begun is not waited for
        for _, future in waiting:
            future.cancel()
        threads.end()


class _StuckError(JobError):
    """An item whose work does not end."""


def call_with_timeout(function: Callable[[Item], Result], item: Item) -> Result:
    """`function(item)`, which reads the file `item`. Raises JobError as `in_order`."""
    return next(ordered_map(function, [item], workers=0, ahead=0))


def _result(item: Any, future: Future[Result], patience: float) -> Result:
    while True:
        path = _path(item)
        try:
            return future.result(patience)
        except TimeoutError as error:
            if future.done():
                return future.result()  # done at the last moment, or the error of a disk that gave up by itself
            if _path(item) != path:
                continue
            name = f"'{printable(os.fspath(path))}'" if isinstance(path, (str, os.PathLike)) else "A file"
            raise _StuckError(
                f"{name} could not be read within {patience / 60:g} minutes: it may lie on storage that does not answer. "
                "Look after the storage, or set RESNETS_TIMEOUT_MINUTES to wait longer."
            ) from error


def _path(item: Any) -> Any:
    named = item[-1] if isinstance(item, tuple) else item  # (number, path)
    return getattr(named, "path", named)


class _Threads(Generic[Item, Result]):
    """As a ThreadPoolExecutor, but Python's end does not wait for a thread that is stuck in a read of a lost disk."""

    def __init__(self, function: Callable[[Item], Result], most: int) -> None:
        self.function, self.most, self.most_seconds = function, most, END_SECONDS
        self.tasks: SimpleQueue[tuple[Item, Future[Result]] | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []

    def submit(self, item: Item) -> Future[Result]:
        future: Future[Result] = Future()
        self.tasks.put((item, future))
        if len(self.threads) < self.most:
            self.threads.append(threading.Thread(target=self._work, name="resnets-images", daemon=True))
            self.threads[-1].start()
        return future

    def _work(self) -> None:
        while (task := self.tasks.get()) is not None:
            item, future = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self.function(item))
                except BaseException as error:
                    future.set_exception(error)
            del task, item, future  # the result is not kept until the next task

    def end(self) -> None:
        for _ in self.threads:
            self.tasks.put(None)
        last = time.monotonic() + self.most_seconds
        for thread in self.threads:
            thread.join(max(last - time.monotonic(), 0))
