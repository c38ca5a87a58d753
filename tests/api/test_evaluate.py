"""`resnets.evaluate` and `resnets.compare` against the JSON of `resnets evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import resnets
from resnets.cli import main
from resnets.errors import UserError


def test_evaluate_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["evaluate", "a.safetensors", "data", "--json", "--device", "cpu"]) == 0
    printed = json.loads(capsys.readouterr().out)
    results = resnets.evaluate("a.safetensors", "data", device="cpu")
    assert capsys.readouterr().out == ""
    assert json.loads(json.dumps(results.to_dict())) == printed
    assert results.metrics["top1"] == printed["metrics"]["top1"]


def test_evaluate_takes_paths_ensembles_and_a_folder_for_the_report(folder: Path) -> None:
    results = resnets.evaluate([folder / "a.safetensors", folder / "b.safetensors"], folder / "data", out="results")
    assert results.metrics["count"] == 12
    assert json.loads(Path("results/metrics.json").read_text())["top1"] == results.metrics["top1"]
    assert Path("results/report.html").is_file()


def test_compare_returns_what_the_command_prints(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["evaluate", "a.safetensors", "b.safetensors", "data", "--compare", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    results = resnets.compare("a.safetensors", "b.safetensors", "data", out="results")
    assert json.loads(json.dumps(results.to_dict())) == printed
    assert results.comparison is not None
    assert results.comparison.count == 12
    assert Path("results/comparison.json").is_file()
    first, a, b, sentence = str(results).splitlines()
    assert first == "12 images of 'data', split all"
    assert a.startswith("a.safetensors: accuracy ")
    assert b.startswith("b.safetensors: accuracy ")
    assert sentence == results.comparison.in_words("a.safetensors", "b.safetensors")


@pytest.mark.parametrize("crops", [0, 5])
def test_arguments_are_checked_before_any_image_is_read(folder: Path, crops: int) -> None:
    with pytest.raises(UserError, match=f"`crops` is 1, 6 or 10; received {crops}"):
        resnets.evaluate("a.safetensors", "no such folder", crops=crops)
    with pytest.raises(UserError, match="`on_bad` must be error or skip"):
        resnets.compare("no such file", "no other file", "no such folder", on_bad="ignore")
