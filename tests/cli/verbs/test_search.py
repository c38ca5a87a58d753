"""`resnets search`: a line for each hit, and nothing before them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.cli import main


def test_lines_and_json(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["embed", "one.safetensors", "data", "--out", "a.npz"])
    capsys.readouterr()
    assert main.main(["search", "a.npz", "data/bee/1.png", "--top-k", "4", "--sheet", "sheet.jpg"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1.0000  data/bee/1.png"
    assert len(lines) == 4
    assert Path("sheet.jpg").stat().st_size > 1000
    assert main.main(["search", "a.npz", "data/bee/1.png", "--top-k", "4", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert [f"{hit['similarity']:.4f}  {hit['path']}" for hit in hits] == lines


def test_the_lines_are_there_where_the_sheet_cannot_be_drawn(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["embed", "one.safetensors", "data", "--out", "a.npz"])
    capsys.readouterr()
    Path("full.png").symlink_to("/dev/full")
    assert main.main(["search", "a.npz", "data/bee/1.png", "--sheet", "full.png"]) == 1
    found = capsys.readouterr()
    assert found.out.startswith("1.0000  data/bee/1.png\n")
    assert "full.png" in found.err


def test_the_index_stays_usable_from_another_folder(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    main.main(["embed", "one.safetensors", "data", "--out", "a.npz"])
    capsys.readouterr()
    (trained / "elsewhere").mkdir()
    monkeypatch.chdir(trained / "elsewhere")
    assert main.main(["search", "../a.npz", "../data/bee/1.png", "--top-k", "2", "--sheet", "s.png"]) == 0
    assert capsys.readouterr().out.startswith("1.0000  data/bee/1.png\n")
