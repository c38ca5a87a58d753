"""Where a name of weights leads, and what is said where it leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.weights import location


def test_a_folder_of_another_library_is_told_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="not one of a finished run"):
        location.locate(tmp_path)
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match=r"resnets weights convert '.*' --to resnets"):
        location.locate(tmp_path)


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "weights").mkdir(parents=True)
        (tmp_path / name / "weights" / "best.safetensors").touch()
    with pytest.raises(UserError, match="holds several runs; name one of them: first, second"):
        location.locate(tmp_path)
