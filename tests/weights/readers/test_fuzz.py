"""A short form of `tests/soak/fuzz_readers.py`: no damaged or invented file does more than to be refused."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from tests import forked_processes
from tests.in_soak import IN_SOAK

COUNT = 60 if IN_SOAK else 40  # files of each reader
SOAK = str(Path(__file__).parents[2] / "soak")


def _fuzz(files: dict[str, list[bytes]], count: int, folder: Path) -> int:
    sys.path.insert(0, SOAK)
    program = importlib.import_module("fuzz_readers")
    program.fork().start()
    program.limit()
    return [program.report(reader, 0, count, contents, folder) for reader, contents in files.items()].count(False)


def test_damaged_and_invented_files(real, tmp_path):
    readers = ("pickle", "safetensors", "h5", "keras")
    files = {reader: [path.read_bytes() for path in sorted(real(reader).iterdir())] for reader in readers}
    log = tmp_path / "log"
    job = forked_processes.start(log, _fuzz, files, COUNT, tmp_path)
    job.join(300)
    said = log.read_text()
    assert job.exitcode == 0, said
    for reader in readers:
        line = next(line for line in said.splitlines() if line.startswith(f"{reader}:"))
        tally = {word: int(number) for word, number in re.findall(r"'(read|refused)': (\d+)", line)}
        assert sum(tally.values()) >= COUNT
        assert min(tally.values()) > 3  # neither all harmless nor all hopeless


def test_a_finding_is_found(fuzz_readers, tmp_path, monkeypatch):
    monkeypatch.setattr("resnets.weights.readers.read_any.read", lambda path: 1 / 0)
    verdicts = fuzz_readers.Verdicts(tmp_path, "pickle")
    verdicts.judge("one", b"")
    assert verdicts.findings == ["one: ZeroDivisionError: division by zero"]
