"""Ctrl-C, SIGTERM and SIGHUP, which end a run after its step instead of in the middle of it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from resnets.progress import log

Item = TypeVar("Item")

# A launcher such as torchrun passes on the Ctrl-C that the terminal has sent to the whole group already.
ECHO_SECONDS = 1.0


class Interrupted(Exception):  # noqa: N818 - no error, as StopIteration is none
    """A signal came in the middle of something that can be done again from its beginning."""


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of ending at once; a second Ctrl-C ends at once after all."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers
        return
    first = 0.0

    def note(number: int, _: object) -> None:
        nonlocal first
        now = time.monotonic()
        if not received:
            first = now
            log("stopping after this step; Ctrl-C once more to stop at once, without saving")
        elif number == signal.SIGINT and now - first > ECHO_SECONDS:
            raise KeyboardInterrupt
        received.append(number)

    taken = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        taken.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in taken}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def iterate_until_signal(received: Sequence[int], items: Iterable[Item]) -> Iterator[Item]:
    """The items one by one, as long as no signal has come.

    Raises:
        Stopped: a signal has.
    """
    for item in items:
        if received:
            raise Interrupted
        yield item
