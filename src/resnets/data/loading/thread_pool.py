"""A thread pool map with ordered results, bounded prefetch, and an error for a read that hangs."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from resnets import ranks
from resnets.errors import JobError
from resnets.message_format import printable
from resnets.timeout import timeout_seconds

Item = TypeVar("Item")
Result = TypeVar("Result")

END_SECONDS = 5.0  # for running calls to end, when the caller stops early
MAX_IDLE = 8  # threads of `call_with_timeout` that are kept


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None, ahead: int
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item, in the order of the items.

    At most `ahead` items are taken from `items` before the result of the first of them is yielded, so that memory is bounded.

    Args:
        items: an error names the item, or its last element if it is a tuple: a path, or an object with a `path`.
        workers: threads; None for one per CPU, 0 to start an item only when it is asked for. Threads suffice since decoding
            releases the GIL. Even a single item has a thread, since a read from a dead disk cannot be interrupted.

    Raises:
        JobError: an item is not done after RESNETS_TIMEOUT_MINUTES.
    """
    workers = ranks.cpus_per_rank() if workers is None else workers
    if workers == 0:
        workers, ahead = 1, 0
    timeout = timeout_seconds()
    pending: deque[tuple[Item, Future[Result]]] = deque()
    threads = _Threads(function, workers)
    try:
        for item in items:
            pending.append((item, threads.submit(item)))
            if len(pending) > ahead:
                yield _result(*pending.popleft(), timeout)
        while pending:
            yield _result(*pending.popleft(), timeout)
    except (_StuckError, KeyboardInterrupt):
        threads.end_seconds = 0
        raise
    finally:  # if the caller stopped early, or an item failed, the others are not started
        for _, future in pending:
            future.cancel()
        threads.end()


class _StuckError(JobError):
    """A call that does not end."""


_idle: list["_Threads[Any, Any]"] = []  # each with a thread that waits for the next call
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_idle.clear)  # whose threads a forked process does not have


def call_with_timeout(function: Callable[[Item], Result], item: Item) -> Result:
    """`function(item)`, which reads the file or folder `item`. Raises JobError as `ordered_map`.

    Threads are kept for the next calls: to start one takes milliseconds on a busy machine, and a dataset has a thousand folders.
    """
    timeout = timeout_seconds()
    try:
        thread = _idle.pop()
    except IndexError:
        thread = _Threads(_call, 1)
    future = thread.submit((function, item))
    try:
        return _result(item, future, timeout)
    finally:
        if future.done():
            _idle.append(thread)
        else:
            thread.tasks.put(None)  # it ends when the call does
        while len(_idle) > MAX_IDLE:
            with contextlib.suppress(IndexError):  # another thread has taken the last one
                _idle.pop().tasks.put(None)


def _call(task: tuple[Callable[[Item], Result], Item]) -> Result:
    function, item = task
    return function(item)


def _result(item: Any, future: Future[Result], timeout: float) -> Result:
    try:
        return future.result(timeout)
    except TimeoutError as error:
        if future.done():
            return future.result()  # done at the last moment, or the TimeoutError of a file system
        path = item[-1] if isinstance(item, tuple) else item  # (number, path)
        path = getattr(path, "path", path)
        name = f"'{printable(os.fspath(path))}'" if isinstance(path, (str, os.PathLike)) else "A file"
        raise _StuckError(
            f"{name} could not be read within {timeout / 60:g} minutes: it may be on storage that does not answer. "
            "Check the storage, or set RESNETS_TIMEOUT_MINUTES to wait longer."
        ) from error


class _Threads(Generic[Item, Result]):
    """As a ThreadPoolExecutor, but Python does not wait at its end for a thread that hangs in a read."""

    def __init__(self, function: Callable[[Item], Result], max_threads: int) -> None:
        self.function, self.max_threads, self.end_seconds = function, max_threads, END_SECONDS
        self.tasks: SimpleQueue[tuple[Item, Future[Result]] | None] = SimpleQueue()
        self.threads: list[threading.Thread] = []

    def submit(self, item: Item) -> Future[Result]:
        future: Future[Result] = Future()
        self.tasks.put((item, future))
        if len(self.threads) < self.max_threads:
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
            del task, item, future  # so that the result is not kept until the next task

    def end(self) -> None:
        for _ in self.threads:
            self.tasks.put(None)
        last = time.monotonic() + self.end_seconds
        for thread in self.threads:
            thread.join(max(last - time.monotonic(), 0))
