from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.training.run_dir import find_run

PROGRAM = """
import sys
from resnets.cli.main import main

code = main(["train", "--resume", "first"])
print(code, "torch" in sys.modules)
"""


def test_the_nearest_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    find_run.check_exists(tmp_path / "first")
    with pytest.raises(UserError, match=r"There is no run '.*firts'\. Did you mean '.*first'"):
        find_run.check_exists(tmp_path / "firts")


def test_a_missing_run_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "runs" / "first").mkdir(parents=True)
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "2 False\n"
    assert "There is no run 'first'. Did you mean 'runs/first'?" in done.stderr
