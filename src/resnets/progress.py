"""Log lines and progress bars on stderr: a bar with rate and time left on a terminal, a plain line now and then elsewhere.

Nothing is printed to stdout, so that results there can be piped.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from resnets import ranks
from resnets.message_format import printable

Item = TypeVar("Item")

format_message: Callable[[str], str] = str  # set by the command line, which prints the library's `arguments` as flags

PLAIN_LINE_SECONDS = 10.0  # between two lines of progress where stderr is no terminal


def log(message: str) -> None:
    """Print one line to stderr, on rank 0 only.

    A line that cannot be printed (no stderr, a closed terminal or log) is dropped.
    """
    if ranks.rank() == 0:
        print_line(format_message(message))


def print_line(message: str) -> None:
    """Print one line to stderr on any rank; characters that its encoding lacks are escaped."""
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


def progress_bar(
    items: Iterable[Item], *, description: str, total: int | None = None, unit: str = "it", initial: int = 0
) -> Iterator[Item]:
    """Yield the items and show progress: count, total, rate in `unit` per second and time left.

    Args:
        items: any iterable.
        description: one or two words, such as "checking".
        total: number of items, `initial` included; `len(items)` where that is defined.
        unit: what an item is, in the plural, such as "images".
        initial: number of items done earlier; they are counted, but do not enter the rate.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if ranks.rank() > 0:
        yield from items
    elif _on_terminal():
        yield from _bar(items, description, total, unit, initial)
    else:
        yield from _lines(items, description, total, unit, initial)


def _bar(items: Iterable[Item], description: str, total: int | None, unit: str, initial: int) -> Iterator[Item]:
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
        task = progress.add_task(description, total=total, completed=initial, rate="")
        start = time.monotonic()
        for done, item in enumerate(items, start=1):
            yield item
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, advance=1, rate=f"{rate:,.1f} {unit}/s")


def _lines(items: Iterable[Item], description: str, total: int | None, unit: str, initial: int) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= PLAIN_LINE_SECONDS:
            last = now
            rate = done / (now - start)
            left = f" of {total}, {(total - initial - done) / rate:.0f} s left" if total else ""
            log(f"{description}: {initial + done}{left}, {rate:.1f} {unit}/s")
