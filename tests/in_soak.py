"""The long form of the tests, in `make soak`, which sets RESNETS_EVERY_SIZE: every network at every size, nothing left out."""

from __future__ import annotations

import os

import pytest

IN_SOAK = bool(os.environ.get("RESNETS_EVERY_SIZE"))


def only_in_soak(reason: str) -> pytest.MarkDecorator:
    """Leave a test out of `make test`, for a reason such as "25 s"."""
    return pytest.mark.skipif(not IN_SOAK, reason=f"{reason}; part of `make soak`")
