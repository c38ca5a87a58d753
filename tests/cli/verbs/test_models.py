"""`resnets models`."""

from __future__ import annotations

import json

import pytest

from resnets.cli.main import main
from resnets.models import model_names, zoo
from resnets.models.detection import zoo as detectors
from resnets.models.detection.prefixes import PREFIXES


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["models", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("width", [100, 160])
def test_every_network_is_listed_with_its_figures(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = shown(capsys).splitlines()
    assert max(map(len, lines)) <= width
    begins = {line.split()[0]: line for line in lines if line[:1].isalpha()}
    for name in zoo.list_models():
        entry = zoo.find(name)
        assert f"{entry.parameters:,}" in begins[name]
        assert f" at {entry.imgsz:3}" in begins[name]
    row = begins["cifar_resnet56"]
    assert " ".join(row.split()) == "cifar_resnet56 He et al. 2015 853,018 125 M at 32 6.97, CIFAR-10 test"
    text = "\n".join(lines)
    assert "He et al. 2015, Deep Residual Learning for Image Recognition" in text
    if width == 160:
        assert "4.09 G at 224  23.87 top-1, 1-crop 224, torchvision V1 weights" in begins["resnet50"]


def test_at_160_columns_and_in_a_pipe_a_network_takes_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = shown(capsys).splitlines()
    table = lines[: lines.index("Papers and files:")]
    assert len(table) == len(zoo.list_models()) + 3  # heading, rule, empty line
    assert not any("\x1b" in line for line in lines)


def test_a_pattern_chooses(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "keras_*").count("Keras Applications") == 6 + 2
    found = json.loads(shown(capsys, "highway", "--json"))
    assert [network["name"] for network in found] == zoo.list_models("highway")


def test_programs_get_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = json.loads(shown(capsys, "cifar_resnet110", "--json"))
    assert found == {
        "name": "cifar_resnet110",
        "paper": "He et al. 2015, Deep Residual Learning for Image Recognition",
        "parameters": 1_727_962,
        "multiply_adds": 252_887_680,
        "imgsz": 32,
        "num_classes": 10,
        "published_error": zoo.find("cifar_resnet110").error,
    }
    (found,) = json.loads(shown(capsys, "tutorial*", "--json"))
    assert found["published_error"] is None


@pytest.mark.parametrize(
    ("pattern", "hint"), [("resnet51", "Did you mean 'resnet50'?"), ("vgg*", "`resnets models` without a pattern")]
)
def test_an_unknown_pattern_is_an_error_with_a_hint(
    pattern: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", pattern]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"'{pattern}'" in captured.err
    assert hint in captured.err


def test_detectors_are_a_short_section_and_are_listed_by_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    assert text.count("fasterrcnn_") == 4
    assert all(f"{prefix}NAME " in text for prefix in PREFIXES)
    assert "fasterrcnn_" not in shown(capsys, "resnet18")
    assert shown(capsys, "yolov3").count("\nyolov3_") == len(detectors.list_models("yolov3_*"))
    assert "torchvision's maskrcnn_resnet50_fpn_v2" in shown(capsys, "maskrcnn_resnet50*")
    (found,) = json.loads(shown(capsys, "yolov3_light_tiny", "--json"))
    assert found == {"name": "yolov3_light_tiny", "architecture": "yolov3", "layout": "fpn", "backbone": "tiny"}


def test_how_many_there_are_stands_before_many_rows(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "light").splitlines()
    count = len(model_names.list_built_on_networks("light"))
    assert lines[0] == f"{count:,} models; `resnets models 'fasterrcnn_light_resnet5*'` lists fewer:"
    assert lines[4].split() == ["light_NAME", str(len(zoo.entries()))]
    assert shown(capsys, "fasterrcnn_light_resnet5*").startswith("Name")
