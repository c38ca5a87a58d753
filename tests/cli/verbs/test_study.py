"""`resnets study`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.in_soak import IN_SOAK
from tests.studies import known_images
from tests.weights.formats.test_custom_keymap import Network

from resnets.cli.main import main
from resnets.studies import registry
from resnets.studies.measurements import lesion_variants

DEPTHS = (32, 44, 56, 110) if IN_SOAK else (32, 44)  # in `make soak`, and else
LOADED = ("study ensemble --protocol minutes --weights {a} {b} --data {data} --out {out}",
          "study ensemble --protocol minutes --weights {a} --weights {b} --data {data} --out {out} --json")  # fmt: skip


def test_the_list_has_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "list"]) == 0
    lines = capsys.readouterr().out
    assert main(["study", "list", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in values] == list(registry.STUDIES)
    assert all(each["claim"] in lines and each["cost"]["short"] in lines for each in values)


def test_several_weights_in_both_spellings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"a": known_images.checkpoint_file(blocks=1), "b": known_images.checkpoint_file(blocks=1, seed=1)}
    printed = []
    for number, words in enumerate(LOADED):
        values = {**names, "data": known_images.folder(), "out": tmp_path / str(number)}
        assert main(words.format(**values).split()) == 0
        printed.append(capsys.readouterr().out)
    result = json.loads(printed[1])
    assert list(result["verdicts"]) == ["2 networks"]
    verdict = result["verdicts"]["2 networks"]
    assert f"2 networks: {verdict['word'].upper()}: {verdict['interval']['effect']:.4g}" in printed[0]
    assert "control held: each network with a copy of itself" in printed[0]


def test_a_study_without_its_data_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "lesion"]) == 2
    assert "give --data" in capsys.readouterr().err


def test_files_in_akamasters_layout_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lesion_variants, "DRAWS", 1)
    monkeypatch.setattr(lesion_variants, "MAX_COUNTS", 2)
    files: list[str] = []
    for depth in DEPTHS:
        torch.manual_seed(depth)
        tensors = {f"module.{name}": tensor for name, tensor in Network((depth - 2) // 6).state_dict().items()}
        files.append(str(tmp_path / f"resnet{depth}.th"))
        torch.save({"state_dict": tensors, "best_prec1": 93.0}, files[-1])
    for label in ("airplane", "truck"):
        (tmp_path / "images" / label).mkdir(parents=True)
        pixels = np.random.default_rng(len(label)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / label / "0.png")
    names = [f"cifar_resnet{depth}" for depth in DEPTHS]
    pairs = [f"{a} - {b}" for index, a in enumerate(names) for b in names[index + 1 :]]
    studies = {"lesion": names, "responses": pairs}
    if IN_SOAK:  # else with other files, in the test above
        studies["ensemble"] = [f"{len(DEPTHS)} networks"]
    for study, subjects in studies.items():
        words = [
            "study",
            study,
            "--weights",
            *files,
            "--data",
            str(tmp_path / "images"),
            "--out",
            str(tmp_path / "out"),
        ]
        assert main([*words, "--protocol", "minutes", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert sorted(result["verdicts"]) == sorted(subjects)
        assert all("has not learned these images" in each["reason"] for each in result["verdicts"].values())
        assert all(control["holds"] for control in result["controls"])
