"""Work on many pictures by threads, ahead of whoever waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from resnets import processes

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None, ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items.

    Memory stays flat: `items` is read at most `ahead` further than what was yielded.

    Args:
        workers: threads; None for one a processor, 0 to work in the calling thread. Threads suffice since decoding
            does not hold Python's lock.
    """
    workers = processes.cores() if workers is None else workers
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
