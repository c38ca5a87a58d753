"""A bound for the pixels of the images that are decoded at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class PixelBudget:
    """Lets threads decode images while the sum of their pixels is at most `most`; a single image is always let in."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._used = 0
        self._freed = threading.Condition()
        # Held by the one image that waits for room, so that smaller ones do not go past it.
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait until the image has room, and hold it in the block."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: not self._used or self._used + pixels <= self.most)
            self._used += pixels
        try:
            yield
        finally:
            with self._freed:
                self._used -= pixels
                self._freed.notify_all()
