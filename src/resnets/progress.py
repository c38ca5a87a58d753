"""What a person sees of long work: a bar with rate and time left on a terminal, a plain line now and then elsewhere.

Everything here goes to stderr, so that results on stdout can be piped.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from resnets import ranks
from resnets.errors import printable

Item = TypeVar("Item")

rephrase: Callable[[str], str] = str  # set by the command line, which prints the library's `arguments` as flags

PLAIN_LINE_SECONDS = 10.0  # without a terminal, one line in this many seconds is enough to see that the work goes on


def say(message: str) -> None:
    """Print one line for the person at the terminal (stderr); of several processes only the first one speaks.

    Where it cannot be printed (no stderr, a terminal or a log that has gone), the work goes on all the same.
    """
    if ranks.rank() == 0:
        tell(rephrase(message))


def tell(message: str) -> None:
    """Print one line to stderr, if there is one, in whatever it can encode."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):  # ValueError: closed
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        line = printable(message).encode(encoding, "backslashreplace").decode(encoding)
        print(line, file=sys.stderr, flush=True)


def _on_terminal() -> bool:
    with contextlib.suppress(AttributeError, ValueError):  # None, as under pythonw; closed
        return sys.stderr.isatty()
    return False


def track(
    items: Iterable[Item], *, what: str, total: int | None = None, unit: str = "it", before: int = 0
) -> Iterator[Item]:
    """Yield the items and show the progress: count, share, rate in `unit` per second and time left.

    Args:
        items: what is worked through.
        what: the work in a word or two, such as "checking".
        total: number of items, with those before; taken from `len(items)` when it has one.
        unit: what an item is, in the plural, such as "images".
        before: items that were done at another time; they count, and take no part in the rate.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if ranks.rank() > 0:
        yield from items
    elif _on_terminal():
        yield from _bar(items, what, total, unit, before)
    else:
        yield from _lines(items, what, total, unit, before)


def _bar(items: Iterable[Item], what: str, total: int | None, unit: str, before: int) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(what, total=total, completed=before, rate="")
        start = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, advance=1, rate=f"{rate:,.1f} {unit}/s")


def _lines(items: Iterable[Item], what: str, total: int | None, unit: str, before: int) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= PLAIN_LINE_SECONDS:
            last = now
            rate = done / (now - start)
            left = f" of {total}, {(total - before - done) / rate:.0f} s left" if total else ""
            say(f"{what}: {before + done}{left}, {rate:.1f} {unit}/s")
