"""Handle Ctrl-C, SIGTERM and SIGHUP: a run ends after its current step, and its state is saved."""

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from resnets.progress import log

Item = TypeVar("Item")

# torchrun forwards the Ctrl-C that the terminal has sent to the whole process group already: a second SIGINT within this time
# is not a second Ctrl-C.
ECHO_SECONDS = 1.0


class Interrupted(Exception):  # noqa: N818 - not an error, like StopIteration
    """Raised when a signal arrives during a phase that can be repeated from its beginning, such as validation."""


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Append the numbers of SIGINT, SIGTERM and SIGHUP to the list that is yielded; a second Ctrl-C raises KeyboardInterrupt."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set signal handlers
        return
    first = 0.0

    def handler(number: int, _: object) -> None:
        nonlocal first
        now = time.monotonic()
        if not received:
            first = now
            log("stopping after this step; press Ctrl-C again to stop at once, without saving")
        elif number == signal.SIGINT and now - first > ECHO_SECONDS:
            raise KeyboardInterrupt
        received.append(number)

    handled = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        handled.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in handled}
    try:
        yield received
    finally:
        for number, previous_handler in previous.items():
            signal.signal(number, previous_handler)


def iterate_until_signal(received: Sequence[int], items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items until a signal is in `received`.

    Raises:
        Interrupted: a signal was received.
    """
    for item in items:
        if received:
            raise Interrupted
        yield item
