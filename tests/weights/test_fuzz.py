"""A short form of `tests/soak/fuzz_readers.py`: no damaged or invented file does more than to be refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "soak" / "fuzz_readers.py"


@pytest.mark.parametrize(("reader", "count"), [("pickle", 400), ("safetensors", 400), ("h5", 100), ("keras", 60)])
def test_damaged_and_invented_files(reader, count):
    done = subprocess.run([sys.executable, PROGRAM, reader, "--count", str(count)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tally = {word: int(number) for word, number in re.findall(r"'(read|refused)': (\d+)", done.stdout)}
    assert sum(tally.values()) >= count
    assert min(tally.values()) > count / 50  # neither all harmless nor all hopeless


def test_a_finding_is_found(fuzz_readers, tmp_path, monkeypatch):
    monkeypatch.setattr("resnets.weights.foreign.read", lambda path: 1 / 0)
    verdicts = fuzz_readers.Verdicts(tmp_path, "pickle")
    verdicts.judge("one", b"")
    assert verdicts.findings == ["one: ZeroDivisionError: division by zero"]
