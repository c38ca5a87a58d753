"""`resnets bench`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnets.cli import main
from resnets.cli.verbs import bench
from resnets.inference.benchmark import Row
from resnets.inference.static_graph import Agreement

SHORT = ["--backends", "torch", "--seconds", "0"]


def test_a_checkpoint_as_json(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "one.safetensors", *SHORT, "--batch", "1,4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["weights"], found["imgsz"]) == ("one.safetensors", "one.safetensors", 32)
    assert [(row["backend"], row["precision"], row["batch"]) for row in found["rows"]] == [
        (backend, precision, batch)
        for batch in (1, 4)
        for backend, precision in (("reference", "fp32"), ("torch", "fp32"), ("torch", "bf16"))
    ]
    assert [sentence.partition(":")[0] for sentence in found["advice"]] == ["Batch 1", "Batch 4"]
    assert all(row["images_per_second"] > 0 and row["agreement"]["images"] == 32 for row in found["rows"])
    assert list(found["rows"][0]["agreement"]) == ["images", "same", "logit", "probability"]


def test_a_network_of_the_zoo_as_a_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "tiny", *SHORT, "--imgsz", "40", "--precision", "fp32", "--threads", "1"]) == 0
    shown, log = capsys.readouterr()
    assert "about 0 s for 2 rows, and the time to build each backend" in log
    assert "tiny with random weights, images of 40x40" in shown
    table, _, sentences = shown.partition("images/s: from")
    speed, other, ratio = map(float, table.splitlines()[-1].split()[3:6])
    assert ratio == pytest.approx(speed / other, rel=0.02, abs=0.02)  # what is printed hangs together
    assert table.count("fp32") == 2
    assert table.count("100.0%") == 2
    assert "Batch 16: " in sentences
    assert "The weights are random" in sentences


def test_what_is_not_in_the_table_is_said() -> None:
    facts = {"device": "cpu name", "features": "avx2", "openvino": ""}
    openvino, bf16 = bench._remarks(facts, [], "all")
    assert "Not measured: openvino (pip install 'resnets[openvino]')" in openvino
    assert "no native bf16" in bf16
    assert bench._remarks(facts, ["torch"], "fp32") == []
    assert bench._remarks({**facts, "features": "avx2 amx_bf16", "openvino": "2025.3"}, [], "all") == []


@pytest.mark.parametrize("columns", ["80", "30", None])
def test_no_figure_is_cut_off(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the largest figures, and not for the width of any terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    near = Agreement(32, 0.1234, "", {"same": 1.0, "logit": 12.5, "probability": 0.1234})
    rows = [
        Row("reference", "fp32", 4096, 1234.56, 1234567.8, 1234567.8, 12.34, (12.34, 45.67), agreement=near),
        Row("compile", "bf16", 16, failure="no C++ compiler " * 9),
    ]
    facts = {"model": "tiny", "weights": "random", "size": [24, 32], "device": f"cpu {'long name ' * 9}", "threads": 2}
    bench._print_table(facts, rows)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 79
    for figure in ("4096", "1234568", "12.34-45.67", "1235", "100.0%", "0.1234"):
        assert figure in shown
    assert "…" not in shown


def test_an_exported_file_is_not_compared_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    near = Agreement(32, 0.0, "", {"same": 1.0})
    rows = [Row(name, "fp32", batch, agreement=near) for batch in (1, 16) for name in ("onnxruntime", "openvino")]
    bench._print_table({"model": "a.onnx", "weights": "a.onnx", "size": [24, 32], "device": "cpu", "threads": 2}, rows)
    shown = capsys.readouterr().out
    ends = [line.split()[-2:] for line in shown.splitlines()[3:7]]
    assert ends == [["-", "-"], ["100.0%", "0.0000"]] * 2
    assert "The reference is the file itself in onnxruntime fp32." in shown
    assert "images of 32x24" in shown


@pytest.mark.parametrize("end", [KeyboardInterrupt, main._Ended])
def test_what_was_measured_stays_when_it_is_broken_off(
    end: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """By Ctrl-C, or by a SIGTERM: each row was written when it came."""
    shown: list[str] = []

    def measured() -> Iterator[Row]:
        yield Row("reference", "fp32", 16, images_per_second=10.0, agreement=Agreement(32, 0.0, "", {"same": 1.0}))
        shown.append(capsys.readouterr().out)
        assert "reference" in shown[0]
        if end is KeyboardInterrupt:
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was not noticed")

    facts = {"model": "tiny", "weights": "random", "size": [24, 32], "device": "cpu", "threads": 2}
    with pytest.raises(end), main._ended_by_signals():
        bench._print_table(facts, measured())
    shown.append(capsys.readouterr().out)
    assert "Batch 16: use the reference" in shown[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bench resnet5O", "resnet5O"),
        ("bench tiny --backends tensorrt", "no backend 'tensorrt'"),
        ("bench tiny --batch two", "received 'two'"),
        ("bench tiny --precision fp16", "received 'fp16'"),
        (
            "bench tiny --backends reference --precision bf16",
            "--precision bf16 has no effect with --backends reference",
        ),
        ("bench tutorial_resnet50 --imgsz 8", "too small for this network"),
        ("predict one.safetensors data --precision int4", "received 'int4'"),
        ("bench one.safetensors --precision int8", "resnets quantize one.safetensors IMAGES"),
        ("predict one.safetensors data --precision int8", "resnets quantize one.safetensors IMAGES"),
        (
            "evaluate one.safetensors data --precision int8 --calibrate",
            "--calibrate fits the checkpoint, so not with --precision int8",
        ),
        ("evaluate one.safetensors data --backend opnvino", "Did you mean 'openvino'?"),
    ],
)
def test_wrong_arguments_are_refused(
    words: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words.split()) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
