"""A short form of `tests/soak/fuzz_readers.py`: no damaged or invented file does more than to be refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "soak" / "fuzz_readers.py"


def test_damaged_and_invented_files():
    command = [sys.executable, PROGRAM, "pickle", "safetensors", "h5", "keras", "--count", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for reader in command[2:6]:
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{reader}:"))
        tally = {word: int(number) for word, number in re.findall(r"'(read|refused)': (\d+)", line)}
        assert sum(tally.values()) >= 60
        assert min(tally.values()) > 3  # neither all harmless nor all hopeless


def test_a_finding_is_found(fuzz_readers, tmp_path, monkeypatch):
    monkeypatch.setattr("resnets.weights.readers.read_any.read", lambda path: 1 / 0)
    verdicts = fuzz_readers.Verdicts(tmp_path, "pickle")
    verdicts.judge("one", b"")
    assert verdicts.findings == ["one: ZeroDivisionError: division by zero"]
