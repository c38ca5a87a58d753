"""`resnets.check` and `resnets.split` against the JSON of `resnets data`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import resnets
from resnets.cli import main
from resnets.errors import UserError


def test_check_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data" / "ant" / "0.png").write_bytes(b"no image")
    assert main.main(["data", "check", "data", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    report = resnets.check(folder / "data", workers=1, html="check.html")
    assert capsys.readouterr().out == ""
    assert report.has_errors
    assert json.loads(report.to_json())["problems"][0]["kind"] == printed["problems"][0]["kind"]
    assert Path("check.html").is_file()


def test_split_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["data", "split", "data", "--test-fraction", "0.25", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.split("data", test_fraction=0.25, out="again.csv")
    assert capsys.readouterr().out == ""
    assert result.to_dict() == {**printed, "out": "again.csv"}
    assert Path("again.csv").read_bytes() == Path("split.csv").read_bytes()
    assert sum(result.counts.values()) == len(result.samples) == 12
    assert {sample.split for sample in result.samples} == {"train", "val", "test"}


def test_split_writes_nothing_without_a_file(folder: Path) -> None:
    before = set(folder.iterdir())
    assert resnets.split("data").out is None
    assert set(folder.iterdir()) == before
    with pytest.raises(UserError, match="no such folder"):
        resnets.split("no such folder")
