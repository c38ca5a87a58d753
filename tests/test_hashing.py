"""SHA-256 as sha256sum prints it."""

from __future__ import annotations

from pathlib import Path

from resnets.hashing import hash_file, sha256


def test_hashes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_file(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"
