"""`resnets export`: a line for each runtime, or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import exported_files

from resnets.cli import main


def test_lines_for_a_person_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(exported_files.checkpoint_file().read_bytes())
    words = [
        "export",
        "model.safetensors",
        "--format",
        "torch",
        "--preprocess",
        "none",
        "--heatmap",
        "--out",
        "new/a.pt2",
    ]
    assert main.main(words) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("torch ")
    assert "f32: passed; largest differences: probabilities " in lines[0]
    assert any("--images takes a folder of yours" in line for line in lines)
    assert lines[-1] == "new/a.pt2"
    assert main.main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("new/a.pt2.certificate.json").read_text())
    assert printed["preprocess"] == "none"
    outputs = [each["output"] for each in printed["runtimes"][0]["outputs"]]
    assert outputs == ["probabilities", "logits", "features", "maps"]
