from __future__ import annotations

import gc

import pytest

from resnets.cli.loading import loading


def test_no_garbage_is_looked_for_within_and_then_as_before() -> None:
    assert gc.isenabled()
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()


def test_whoever_looks_for_no_garbage_is_left_alone() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
