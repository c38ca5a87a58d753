"""Importing what a verb needs, quickly."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import within the block, without looking for garbage meanwhile, or later among what was imported.

    Modules stay until the end. To look through torch's many objects again and again took a fifth of the time in which
    `train` is imported: 4.0 s of a processor with it, 3.1 without. A program that calls several verbs sets objects aside
    only once, since garbage of its own may be among them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            atexit.register(gc.unfreeze)  # else triton complains about what is left of it when Python ends
        if was_on:
            gc.enable()
