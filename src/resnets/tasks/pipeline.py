"""Pictures are prepared by threads while the network works on those before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from torch import Tensor

from resnets.engine.machine import cores
from resnets.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Prepared(NamedTuple):
    """A picture on its way to the network.

    `inputs` holds for each classifier the views (C, h, w) that it gets; they are empty where `error` says why the picture
    cannot be read.
    """

    name: str
    inputs: list[list[Tensor]]
    error: str | None = None


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None, ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items.

    Memory stays flat: `items` is read at most `ahead` further than what was yielded.

    Args:
        workers: threads; None for one a processor, 0 to work in the calling thread. Threads suffice since decoding
            does not hold Python's lock.
    """
    workers = cores() if workers is None else workers
    if workers == 0:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the caller stopped early, or a picture failed: what was not begun is not waited for
            for future in waiting:
                future.cancel()


def chunks(prepared: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Runs with `size` readable pictures each, so that unreadable ones leave no batch half empty."""
    chunk: list[Prepared] = []
    readable = 0
    for entry in prepared:
        chunk.append(entry)
        readable += entry.error is None
        if readable == size or len(chunk) == 4 * size:
            yield chunk
            chunk, readable = [], 0
    if chunk:
        yield chunk


def check_sizes(batch: int, workers: int | None) -> None:
    """Raises UserError for a batch without pictures, or a number of threads below 0."""
    if batch < 1:
        raise UserError(f"--batch must be 1 or more; received {batch}.")
    if workers is not None and workers < 0:
        raise UserError(f"--workers must be 0 or more; received {workers}.")
