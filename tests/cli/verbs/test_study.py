"""`resnets study`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.studies import known_images

from resnets.cli.main import main
from resnets.studies import registry

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
