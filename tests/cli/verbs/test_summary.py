"""`resnets summary`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.cli.main import main


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["summary", *words]) == 0
    return capsys.readouterr().out


def test_the_table_and_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "tutorial_resnet50", "--layout", "hwc").splitlines()
    assert len(lines) == 2 + 175 + 1 + 4
    assert lines[0].split("  ")[0] == "Layer (type)"
    assert " ".join(lines[3].split()) == "stem.conv (Conv2D) (None, 109, 109, 64) 9,472 input"
    assert lines[-4:-1] == [
        "Total params: 25,636,712",
        "Trainable params: 25,583,592",
        "Non-trainable params: 53,120",
    ]


def test_a_narrow_terminal_folds_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert max(map(len, shown(capsys, "resnet50").splitlines())) <= 100


def test_programs_get_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "tiny", "--json", "--imgsz", "48x64", "--num-classes", "7", "--in-channels", "1"))
    assert (found["name"], found["imgsz"]) == ("tiny", [48, 64])
    assert found["layers"][0]["shape"] == [None, 1, 48, 64]
    assert found["layers"][-1] == {
        "name": "head.fc",
        "type": "Dense",
        "shape": [None, 7],
        "parameters": 48 * 7 + 7,
        "multiply_adds": 48 * 7,
        "connected_to": ["pool"],
    }
    totals = found["totals"]
    assert totals["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    assert totals["parameters"] == totals["trainable"] + totals["non_trainable"]
    assert totals["multiply_adds"] == sum(layer["multiply_adds"] for layer in found["layers"])


def test_settings_change_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("resnet18", "--imgsz", "32", "--set", "stem=cifar", "--set", "num_blocks=1,1,1,1", "--set", "shortcut=A")
    found = json.loads(shown(capsys, *words, "--json"))
    names = [layer["name"] for layer in found["layers"]]
    assert "stem.pool" not in names
    assert "stage1.block2.branch.conv1" not in names
    assert "ZeroPad" in {layer["type"] for layer in found["layers"]}


def test_a_head_with_a_window_is_built_for_the_size_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    small = json.loads(shown(capsys, "notes_resnet50", "--imgsz", "64", "--json"))
    large = json.loads(shown(capsys, "notes_resnet50", "--imgsz", "128", "--json"))
    assert large["layers"][-1]["parameters"] > small["layers"][-1]["parameters"]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_drawing_is_written_beside_the_table(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"tiny.{suffix}"
    assert main(["summary", "tiny", "--draw", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"drawn: {out}\n"
    assert captured.out.startswith("Layer (type)")
    assert out.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("resnet5O", "'resnet5O'. Did you mean 'resnet50'?"),
        ("tutorial_resnet50 --imgsz 8", "8x8 are too small for this network; the least height and width are 11"),
        ("resnet18 --imgsz 0", "received '0'"),
        ("resnet18 --imgsz wide", "received 'wide'"),
        ("resnet18 --layout bhwc", "Unknown layout 'bhwc'"),
        ("resnet18 --set stem", "received 'stem'"),
        ("resnet18 --set name=other", "received 'name=other'"),
        ("resnet18 --set stam=cifar", "'stam'. Did you mean 'stem'?"),
        ("resnet18 --set stem=cifr", "received 'cifr'"),
        ("resnet18 --num-classes 0", "received 0"),
        ("resnet18 --in-channels -1", "received -1"),
        ("tiny --draw tiny.jpg", "'tiny.jpg'"),
    ],
)
def test_wrong_words_end_in_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", *words.split()]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert captured.err.count("\n") == 1
