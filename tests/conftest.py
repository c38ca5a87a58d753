"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Keras is one of the independent implementations that the networks are compared with; on torch it runs in one process
# with ours.
os.environ.setdefault("KERAS_BACKEND", "torch")

# pytest imports readline, which tells the processes that pytest-xdist starts a width of the terminal that nobody has.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Give a function from a name to the path of a developer's real pictures or weights; it skips without them."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"needs the developers' data file {relative}")
        return path

    return find
