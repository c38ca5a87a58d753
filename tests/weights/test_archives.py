"""Zip archives that lie."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.weights import archives


def made(path: Path, members, method: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, content in members:
            archive.writestr(name, content)
    return path


def unpacked(path: Path) -> None:
    with archives.opened(path) as archive:
        for name in archive.namelist():
            archives.unpack(path, archive, name, io.BytesIO())


def said(path: Path) -> str:
    """The message over the archive, or over reading all of it."""
    with pytest.raises(UserError) as caught:
        unpacked(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_sound_archive(tmp_path):
    path = made(tmp_path / "a.zip", [("a", b"one"), ("b/c", b"two")])
    target = io.BytesIO()
    with archives.opened(path) as archive:
        archives.unpack(path, archive, "b/c", target)
        assert archives.content(path, archive, "a", 3) == b"one"
        with pytest.raises(UserError, match="more than 2 bytes in 'a'"):
            archives.content(path, archive, "a", 2)
    assert target.getvalue() == b"two"


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/a", "C:\\a", "..\\a"])
def test_a_path_that_leads_outside(tmp_path, name):
    assert "leads outside" in said(made(tmp_path / "a.zip", [(name, b"")]))


def test_a_name_twice(tmp_path):
    assert "a file twice" in said(made(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")]))


def test_a_bomb(tmp_path):
    path = made(tmp_path / "a.zip", [("a", bytes(2**24))], zipfile.ZIP_DEFLATED)
    assert "claims to unpack to 16,777,216" in said(path)


def test_a_bomb_that_says_it_is_small(tmp_path):
    path = made(tmp_path / "a.zip", [("a", bytes(2**24))], zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # where the size unpacked stands
        at = data.index(mark) + offset
        data[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "damaged" in said(path) or "more in 'a'" in said(path)


def test_overlapping_members(tmp_path):
    """Many names for the same packed bytes, as in the bombs of 2019."""
    path = made(tmp_path / "a.zip", [("a", bytes(60_000)), ("b", b""), ("c", b"")])
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\x01\x02")
    entry = bytes(data[first + 10 : first + 46])
    for at in (i for i in range(first + 46, len(data)) if data[i : i + 4] == b"PK\x01\x02"):
        data[at + 10 : at + 46] = entry
    path.write_bytes(data)
    assert "not believed" in said(path)


def test_an_encrypted_member(tmp_path):
    path = made(tmp_path / "a.zip", [("a", b"1")])
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "is encrypted" in said(path)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_an_archive_cut_off(tmp_path, part):
    path = made(tmp_path / "a.zip", [("a", b"1" * 1000), ("b", b"2")])
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert "cut off" in said(path)


def test_a_damaged_member(tmp_path):
    path = made(tmp_path / "a.zip", [("a", b"1" * 1000)])
    path.write_bytes(path.read_bytes().replace(b"1111", b"2222", 1))
    assert "damaged zip archive (Bad CRC-32" in said(path)


def test_a_name_that_is_no_text(tmp_path):
    path = made(tmp_path / "a.zip", [("ééé", b"1")])
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xfe"))
    assert "damaged" in said(path)


@pytest.mark.parametrize(("count", "length"), [(0xFFFE, 2**31), (3, 2**31)])
def test_a_directory_that_claims_too_much(tmp_path, count, length):
    path = made(tmp_path / "a.zip", [("a", b"1")])
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 10 : end + 16] = struct.pack("<HI", count, length)
    path.write_bytes(data)
    assert "not believed" in said(path)


def test_a_directory_of_the_large_format(tmp_path, monkeypatch):
    """The count of a large archive stands in a record of its own."""
    with monkeypatch.context() as patched:
        patched.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
        path = made(tmp_path / "a.zip", [(str(index), b"1") for index in range(7)])
    assert b"PK\x06\x06" in path.read_bytes()
    unpacked(path)
    monkeypatch.setattr(archives, "MEMBERS", 6)
    assert "claims 7 files" in said(path)
