"""Files that are checked by several processes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from resnets.data.check.check_file import CHUNK, map_in_processes
from resnets.errors import JobError
from resnets.hashing import sha256


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    made = [tmp_path / f"{number:02}.jpg" for number in range(3 * CHUNK)]
    for path in made:
        path.write_bytes(path.name.encode())
    return list(map(str, made))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_from_any_number_of_processes(paths: list[str], workers: int) -> None:
    assert list(map_in_processes(sha256, paths, workers=workers, description="hashing")) == list(map(sha256, paths))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_be_read_to_its_end_is_named(
    paths: list[str], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes into stands in for the file on a lost disk."""
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.01")
    os.unlink(paths[0])
    os.mkfifo(paths[0])
    before = multiprocessing.active_children()
    with pytest.raises(JobError, match=r"00\.jpg' could not be read within 0\.01 minutes"):
        list(map_in_processes(sha256, paths, workers=workers, description="hashing"))
    assert multiprocessing.active_children() == before
