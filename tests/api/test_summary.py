"""`resnets.summary` against the JSON of `resnets summary`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import resnets
from resnets.cli import main
from resnets.errors import UserError


def test_summary_returns_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["summary", "tiny", "--image-size", "48", "--set", "stem=cifar", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = resnets.summary("tiny", imgsz=48, stem="cifar")
    assert capsys.readouterr().out == ""
    assert json.loads(json.dumps(result.to_dict())) == printed
    assert result.totals.parameters == printed["totals"]["parameters"]
    assert result.multiply_adds == printed["totals"]["multiply_adds"]
    assert "Total" in str(result) or "otal" in str(result)
    result.draw(tmp_path / "tiny.svg")
    assert (tmp_path / "tiny.svg").read_text().startswith("<?xml")


def test_summary_takes_a_height_and_a_width() -> None:
    assert resnets.summary("tiny", imgsz=(64, 48), num_classes=7).to_dict()["imgsz"] == [64, 48]
    with pytest.raises(UserError, match="resnet5O"):
        resnets.summary("resnet5O")
    with pytest.raises(UserError, match="`imgsz` is a side in pixels"):
        resnets.summary("tiny", imgsz=0)
    with pytest.raises(UserError, match="`imgsz` is a side in pixels"):
        resnets.summary("tiny", imgsz="large")  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [None, 120, 80])
def test_the_table_keeps_to_its_width(width: int | None) -> None:
    summary = resnets.summary("cifar_resnet20")
    rows, lines = summary.layers, summary.table(width).splitlines()
    if width is None:
        assert len(lines) == len(rows) + 2 + 1 + 4
        assert lines[3].split() == ["stem.conv", "(Conv2D)", "(None,", "16,", "32,", "32)", "432", "input"]
    else:
        assert max(map(len, lines)) <= width
    if width is None:  # else a name is folded
        assert all(any(f"{row.name} ({row.type})" in line for line in lines) for row in rows)
    assert lines[-4:] == [
        "Total params: 271,098",
        "Trainable params: 269,722",
        "Non-trainable params: 1,376",
        "Multiply-adds: 40,551,040",
    ]
