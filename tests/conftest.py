"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Keras is one of the independent implementations that the networks are compared with; on torch it runs in one process with ours.
os.environ.setdefault("KERAS_BACKEND", "torch")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def shared(relative: str) -> Path:
    """A developer's real pictures and weights; the test is skipped where they are absent."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"needs the developers' data file {relative}")
    return path
