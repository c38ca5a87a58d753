"""Files appear whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from resnets import atomic
from resnets.errors import JobError


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "a" / "b" / "c.txt", "żółw\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "żółw\n".encode()


def test_the_temporary_name_ends_as_the_final_one(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "curve.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def write_half() -> None:
        with atomic.replacing(path) as temporary:
            temporary.write_text("half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_file_where_a_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=r"Cannot write '.*file/x.txt': .*Choose another place") as caught:
        atomic.write_text(tmp_path / "file" / "x.txt", "")
    assert "\n" not in str(caught.value)


def test_a_folder_in_the_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(JobError, match=r"Cannot write '.*x.txt'"):
        atomic.write_text(tmp_path / "x.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: to the program it is the same failed write."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(JobError, match="What stood there before is unchanged"):
            atomic.write_bytes(path, b"n" * 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    path.write_bytes(b"old")
    code = f"""
import os, signal
from resnets import atomic
with atomic.replacing({str(path)!r}) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_duplicate_takes_no_room_and_survives_the_end_of_the_other(tmp_path: Path) -> None:
    last, best = tmp_path / "last", tmp_path / "best"
    best.write_text("older")
    atomic.write_text(last, "epoch 1")
    for _ in range(2):  # renaming a file to another name of itself does nothing, and says nothing
        atomic.duplicate(last, best)
        assert best.samefile(last)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]
    atomic.write_text(last, "epoch 2")
    assert best.read_text() == "epoch 1"


def test_where_there_are_no_links_a_duplicate_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    atomic.write_text(tmp_path / "last", "epoch 1")
    atomic.duplicate(tmp_path / "last", tmp_path / "best")
    assert (tmp_path / "best").read_text() == "epoch 1"
    assert not (tmp_path / "best").samefile(tmp_path / "last")
