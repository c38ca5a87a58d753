"""Hashes are those of sha256sum; what cannot be read is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from resnets.data.loading.hash_files import hash_files
from resnets.errors import JobError
from resnets.hashing import sha256


def test_hashes_come_in_order(tmp_path: Path) -> None:
    contents = [b"", b"a", bytes(3_000_000)]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    paths = [str(tmp_path / str(number)) for number in range(3)]
    assert hash_files(paths) == [hashlib.sha256(content).hexdigest() for content in contents]
    assert sha256(paths[1]) == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert hash_files([]) == []


def test_every_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(JobError) as caught:
        hash_files([str(tmp_path / name) for name in ("gone", "there", "lost")])
    assert "2 files cannot be read: " in str(caught.value)
    assert f"'{tmp_path}/gone': No such file" in str(caught.value)
    assert f"'{tmp_path}/lost': No such file" in str(caught.value)
