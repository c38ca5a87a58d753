"""`resnets bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.cli import app

SHORT = ["--engines", "torch", "--seconds", "0"]


def test_a_checkpoint_as_json(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["bench", "one.safetensors", *SHORT, "--batch", "1,4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["weights"], found["imgsz"]) == ("one.safetensors", "one.safetensors", 32)
    assert [(row["engine"], row["precision"], row["batch"]) for row in found["rows"]] == [
        (engine, precision, batch)
        for batch in (1, 4)
        for engine, precision in (("reference", "fp32"), ("torch", "fp32"), ("torch", "bf16"))
    ]
    assert all(row["pictures_per_second"] > 0 and row["agreement"]["pictures"] == 32 for row in found["rows"])


def test_a_network_of_the_zoo_as_a_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["bench", "tiny", *SHORT, "--imgsz", "40", "--precision", "fp32", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "tiny with random weights, pictures of 40x40" in shown
    assert shown.count("fp32") == 2
    assert shown.count("100.0%") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bench resnet5O", "resnet5O"),
        ("bench tiny --engines tensorrt", "no engine 'tensorrt'"),
        ("bench tiny --batch two", "received 'two'"),
        ("bench tiny --precision fp16", "received 'fp16'"),
        ("bench resnet18 --imgsz 8", "least side"),
        ("predict one.safetensors data --precision int8", "received 'int8'"),
        ("evaluate one.safetensors data --engine opnvino", "Did you mean 'openvino'?"),
    ],
)
def test_what_cannot_be_measured(words: str, said: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(words.split()) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
