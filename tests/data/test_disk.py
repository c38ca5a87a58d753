"""Prepared pictures on the disk: the same to the bit, decoded once, never believed when damaged, bounded in size."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from resnets.data import cache, disk

SIDE = 24
KEYS = ["aa1", "aa2", "bb3"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    return disk.home()


@pytest.fixture
def source(tmp_path: Path) -> cache.Decoded:
    random = np.random.default_rng(0)
    for number, size in enumerate([(90, 60), (31, 47), (24, 24)]):
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return cache.Decoded([str(path) for path in sorted(tmp_path.glob("*.png"))], partial(cache.shrunken, min_side=SIDE))


def kept(source: cache.Decoded) -> tuple[disk.OnDisk, list[int]]:
    """The pictures, and the numbers of those that were decoded."""
    asked: list[int] = []

    def decoded(index: int) -> np.ndarray:
        asked.append(index)
        return source[index]

    return disk.OnDisk(decoded, KEYS, disk.folder(source.prepare)), asked


def files() -> list[Path]:
    return sorted(disk.home().rglob("*.rgb"))


def test_each_is_decoded_once_and_equal_to_the_bit(source: cache.Decoded) -> None:
    pictures, asked = kept(source)
    for _ in range(2):
        assert all(np.array_equal(pictures[number], source[number]) for number in range(3))
    assert asked == [0, 1, 2]
    later, asked = kept(source)  # another run
    assert all(np.array_equal(later[number], source[number]) for number in range(3))
    assert asked == []
    assert len(later) == 3


def test_what_comes_out_is_the_callers_own(source: cache.Decoded) -> None:
    pictures, _ = kept(source)
    _ = pictures[0]
    first = pictures[0]
    first[:] = 7
    assert np.array_equal(pictures[0], source[0])


@pytest.mark.parametrize("damage", [
    lambda raw: b"",
    lambda raw: raw[:10],
    lambda raw: raw[:-1],
    lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    lambda raw: bytes(len(raw)),
    lambda raw: raw[:8] + b"\xff" * 8 + raw[16:],
])  # fmt: skip
def test_a_damaged_file_is_decoded_again(source: cache.Decoded, damage) -> None:
    pictures, _ = kept(source)
    wanted = pictures[0].copy()
    (file,) = files()
    file.write_bytes(damage(file.read_bytes()))
    again, asked = kept(source)
    assert np.array_equal(again[0], wanted)
    assert asked == [0]
    assert np.array_equal(again[0], wanted)
    assert asked == [0]  # and written again


def test_other_settings_are_other_files(source: cache.Decoded) -> None:
    other = partial(cache.shrunken, min_side=SIDE + 1)
    assert disk.folder(source.prepare) != disk.folder(other)
    assert disk.folder(source.prepare) == disk.folder(partial(cache.shrunken, min_side=SIDE))


def test_a_full_disk_is_said_once_and_the_rest_decoded(
    source: cache.Decoded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pictures, asked = kept(source)
    monkeypatch.setattr(os, "replace", full)
    for _ in range(2):
        assert all(np.array_equal(pictures[number], source[number]) for number in range(3))
    assert asked == [0, 1, 2] * 2
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert not [path for path in disk.home().rglob("*") if path.is_file()]  # nothing half written stays


def test_processes_fill_it_together(source: cache.Decoded) -> None:
    pictures = disk.OnDisk(partial(_repeated, source), KEYS * 20, disk.folder(source.prepare))
    loader = DataLoader(pictures, batch_size=1, num_workers=2, collate_fn=lambda batch: batch[0])  # type: ignore[arg-type]
    for number, picture in enumerate(loader):
        assert np.array_equal(picture, source[number % 3])
    assert [file.stem for file in files()] == KEYS
    later, asked = kept(source)
    assert all(np.array_equal(later[number], source[number]) for number in range(3))
    assert asked == []


def _repeated(source: cache.Decoded, index: int) -> np.ndarray:
    return source[index % 3]


def test_room_is_made_by_removing_what_was_used_least_recently(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (home / name).mkdir(parents=True)
        (home / name / f"a{disk.SUFFIX}").write_bytes(bytes(1000))
        os.utime(home / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=9000))
    assert disk.room(1500, home / "mine") is None  # a quarter of 12,000 bytes is 3,000
    # 1,500 of one's own leave 1,500 to the others: the newest stays
    assert sorted(each.name for each in home.iterdir()) == ["mine", "new"]
    assert "removed pictures kept for earlier runs" in capsys.readouterr().err
    refusal = disk.room(4000, home / "mine")
    assert refusal is not None
    assert "more than 25%" in refusal
    assert (home / "new").exists()


def test_a_place_that_cannot_be_made_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "file"))
    refusal = disk.room(10, disk.home() / "mine")
    assert refusal is not None
    assert "cannot be used" in refusal
