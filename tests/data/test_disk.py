"""Prepared pictures on the disk: the same to the bit, decoded once, never believed when damaged, bounded in size."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from resnets.data import cache, disk
from resnets.data.hashing import hashes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    return disk.home()


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    for number, size in enumerate([(90, 60), (31, 47), (24, 24)]):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return [str(path) for path in sorted(tmp_path.glob("*.png"))]


ASKED: list[str] = []  # the pictures that were prepared


def noted(path: str, *, min_side: int) -> np.ndarray:
    ASKED.append(path)
    return cache.shrunken(path, min_side=min_side)


PREPARE = partial(noted, min_side=24)


@pytest.fixture
def wanted(paths: list[str]) -> list[np.ndarray]:
    return [cache.shrunken(path, min_side=24) for path in paths]


def kept(paths: list[str]) -> disk.OnDisk:
    """As a new run has them."""
    ASKED.clear()
    return disk.OnDisk(paths, PREPARE, hashes(paths), disk.folder(PREPARE))


def files() -> list[Path]:
    return sorted(disk.home().rglob("*.rgb"))


def same(pictures: disk.OnDisk, wanted: list[np.ndarray]) -> bool:
    return len(pictures) == len(wanted) and all(map(np.array_equal, pictures, wanted))


def test_each_is_prepared_once_and_equal_to_the_bit(paths, wanted) -> None:
    pictures = kept(paths)
    assert same(pictures, wanted)
    assert same(pictures, wanted)
    assert paths == ASKED
    assert same(kept(paths), wanted)  # another run
    assert ASKED == []


def test_what_comes_out_is_the_callers_own(paths, wanted) -> None:
    pictures = kept(paths)
    _ = pictures[0]
    pictures[0][:] = 7
    assert np.array_equal(pictures[0], wanted[0])


@pytest.mark.parametrize("damage", [
    lambda raw: b"",
    lambda raw: raw[:10],
    lambda raw: raw[:-1],
    lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    lambda raw: bytes(len(raw)),
    lambda raw: raw[:8] + b"\xff" * 8 + raw[16:],
])  # fmt: skip
def test_a_damaged_file_is_made_again(paths, wanted, damage) -> None:
    _ = kept(paths)[0]
    (file,) = files()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert np.array_equal(kept(paths)[0], wanted[0])
    assert paths[:1] == ASKED
    assert file.read_bytes() == whole


def test_other_settings_are_other_files() -> None:
    assert disk.folder(PREPARE) == disk.folder(partial(noted, min_side=24))
    assert disk.folder(PREPARE) != disk.folder(partial(noted, min_side=25))
    assert disk.folder(PREPARE) != disk.folder(partial(cache.shrunken, min_side=24))


def test_a_picture_that_was_changed_since_it_was_hashed_is_not_kept(paths) -> None:
    pictures = kept(paths)
    Path(paths[0]).write_bytes(Path(paths[1]).read_bytes())
    assert np.array_equal(pictures[0], cache.shrunken(paths[1], min_side=24))
    assert files() == []


def test_a_full_disk_is_said_and_the_rest_decoded(
    paths, wanted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pictures = kept(paths)
    monkeypatch.setattr(os, "replace", full)
    assert same(pictures, wanted)
    assert same(pictures, wanted)
    assert paths * 2 == ASKED
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert not [path for path in disk.home().rglob("*") if path.is_file()]  # nothing half written stays


def test_processes_fill_it_together(paths, wanted) -> None:
    pictures = disk.OnDisk(paths * 20, PREPARE, hashes(paths) * 20, disk.folder(PREPARE))
    loader = DataLoader(pictures, batch_size=1, num_workers=2, collate_fn=lambda batch: batch[0])  # type: ignore[arg-type]
    for number, picture in enumerate(loader):
        assert np.array_equal(picture, wanted[number % 3])
    assert len(files()) == 3
    assert same(kept(paths), wanted)
    assert ASKED == []


@pytest.fixture
def disk_of_12000(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, float], Path]:
    """A disk on which 12,000 bytes are free or ours, of which pictures may take 3,000; writes one of 1,000 bytes."""
    files: list[Path] = []

    def write(folder: str, name: str, used: float) -> Path:
        file = home / folder / "aa" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1000))
        os.utime(file, (used, used))
        files.append(file)
        return file

    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=12_000 - 1000 * sum(file.exists() for file in files))

    monkeypatch.setattr(disk.shutil, "disk_usage", usage)
    return write


MINE, OTHER = "0123456789abcdef", "fedcba9876543210"


def test_room_is_made_by_removing_what_was_used_least_recently(
    disk_of_12000, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same_folder, older = disk_of_12000(MINE, "aa1.rgb", 100), disk_of_12000(OTHER, "aa2.rgb", 50)
    mine, unfinished = disk_of_12000(MINE, "aa3.rgb", 10), disk_of_12000(OTHER, "x.writing", 20)
    # Two of one's own, of which one is there, leave a thousand to the other three.
    assert disk.room(2000, home / MINE, ["aa3", "bb4"]).enough
    assert not unfinished.exists()
    assert not older.exists()
    assert same_folder.exists()
    assert mine.stat().st_mtime > 1e9  # used now
    assert "removed pictures that earlier runs had prepared, 0.0 MB" in capsys.readouterr().err
    assert disk.room(3000, home / MINE, ["bb4", "bb5", "bb6"]).enough
    assert not same_folder.exists()
    refused = disk.room(4000, home / MINE, [])
    assert not refused.enough
    assert "more than 25% of the 0.0 GB" in refused.reason


def test_nothing_is_removed_but_pictures_of_ours(disk_of_12000, home: Path) -> None:
    holiday, note = disk_of_12000("holiday", "aa1.rgb", 1), disk_of_12000(OTHER, "note.txt", 1)
    old = [disk_of_12000(OTHER, f"aa{number}.rgb", number) for number in range(3)]
    assert disk.room(2500, home / MINE, []).enough
    assert holiday.exists()
    assert note.exists()
    assert not any(file.exists() for file in old)


def test_only_the_first_process_removes(disk_of_12000, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    old = disk_of_12000(OTHER, "aa1.rgb", 1)
    assert disk.room(3000, home / MINE, []).enough
    assert old.exists()


def test_a_place_that_cannot_be_written_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    refused = disk.room(10, disk.home() / MINE, [])
    assert not refused.enough
    assert "cannot be written to" in refused.reason
