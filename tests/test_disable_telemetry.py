"""Reports of libraries are off while they are imported; what the program had decided itself stays."""

from __future__ import annotations

import os
import sys
import types

import pytest

from resnets.disable_telemetry import telemetry_disabled


def test_within_the_block_the_reporter_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("NNCF_CI", "mine")
    with telemetry_disabled():
        with pytest.raises(ImportError):
            import openvino_telemetry  # noqa: F401
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert "openvino_telemetry" not in sys.modules
    assert "HF_HUB_DISABLE_TELEMETRY" not in os.environ
    assert os.environ["NNCF_CI"] == "mine"


def test_what_the_program_has_imported_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = types.ModuleType("openvino_telemetry")
    monkeypatch.setitem(sys.modules, "openvino_telemetry", theirs)
    with telemetry_disabled():
        assert sys.modules["openvino_telemetry"] is theirs
    assert sys.modules["openvino_telemetry"] is theirs


def test_an_error_within_the_block_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    with pytest.raises(ZeroDivisionError), telemetry_disabled():
        raise ZeroDivisionError
    assert "openvino_telemetry" not in sys.modules
