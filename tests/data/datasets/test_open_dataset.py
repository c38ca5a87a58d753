"""Every location that data can be read from, and the messages for any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Sample, build_dataset, remap_classes, text_order_note
from resnets.errors import UserError


def data(root: Path) -> Path:
    for name in ("ant/1.png", "bee/1.png", "bee/2.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "list.csv").write_text("path,label\nant/1.png,ant\nbee/1.png,bee\n")
    (root / "list.jsonl").write_text('{"path": "ant/1.png", "label": "ant"}\n')
    return root


def test_folders_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = data(tmp_path / "insects")
    assert len(open_dataset.read(root).samples) == 3
    assert len(open_dataset.read(str(root / "list.csv")).samples) == 2
    assert len(open_dataset.read(root / "list.jsonl").samples) == 1
    monkeypatch.chdir(tmp_path)
    relative = open_dataset.read("insects")
    assert relative.samples[0].path == "insects/ant/1.png"  # as it was given, so that messages stay short
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_dataset.read("~/insects").samples) == 3


def test_the_built_in_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    digits = open_dataset.read("digits")
    assert digits.splits == ("train", "val", "test")
    assert digits.class_names == tuple("0123456789")
    data(tmp_path / "digits")
    assert open_dataset.read("digits").class_names == ("ant", "bee")  # what lies here goes first


def test_a_missing_location_lists_what_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data(tmp_path / "insects")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        open_dataset.read("insect")
    message = str(caught.value)
    assert f"No data at 'insect': {tmp_path / 'insect'} does not exist." in message
    assert "Did you mean 'insects'?" in message
    assert f"In {tmp_path} there is: insects." in message
    with pytest.raises(UserError, match=r"Did you mean 'bee'\? In .*insects there is: ant, bee, list.csv, list.jsonl"):
        open_dataset.read("insects/bees/today")
    with pytest.raises(UserError, match="Did you mean 'digits'"):
        open_dataset.read("digit")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photo.JPG", "is one image. Give the folder"),
        ("data.zip", "is an archive. Unpack it"),
        ("data.tar.gz", "is an archive. Unpack it"),
        ("data.yaml", r"is not data: it is a file '\.yaml'. Give a folder"),
        ("data", "is not data: it is a file 'data'"),
    ],
)
def test_a_file_that_is_not_data(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=message):
        open_dataset.read(tmp_path / name)


def test_classes_are_bound_by_name_in_the_order_of_the_model(tmp_path: Path) -> None:
    dataset = open_dataset.read(data(tmp_path))
    bound = remap_classes(dataset, ("wasp", "bee", "ant"))
    assert bound.class_names == ("wasp", "bee", "ant")
    assert [sample.label for sample in bound.samples] == ["ant", "bee", "bee"]


def test_a_label_that_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    dataset = open_dataset.read(data(tmp_path))
    with pytest.raises(
        UserError, match=r"has images of 'bee', unknown to a model of 'ant', 'beet'. Did you mean 'beet'"
    ):
        remap_classes(dataset, ("ant", "beet"))


def test_unicode_forms_do_not_separate_a_model_from_its_data(tmp_path: Path) -> None:
    dataset = build_dataset(tmp_path, [Sample("1.png", ("cafe\u0301",))])
    assert remap_classes(dataset, ("caf\u00e9", "bar")).samples[0].label == "caf\u00e9"
    assert remap_classes(dataset, ("cafe\u0301", "bar")).samples[0].label == "cafe\u0301"  # as the model calls it


def test_numbers_that_are_sorted_as_text_are_noted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("1", "2", "10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    assert open_dataset.read(tmp_path).class_names == ("1", "10", "2")
    assert capsys.readouterr().err == "classes are sorted as text: '10' comes before '2'\n"


@pytest.mark.parametrize(
    ("classes", "note"),
    [
        (("class 1", "class 10", "class 2"), "'class 10' comes before 'class 2'"),
        (("0", "1", "2"), ""),
        (("01", "02", "10"), ""),
        (("n01440764", "n01443537"), ""),
        (("1a", "1b", "ant"), ""),
    ],
)
def test_only_numbers_in_another_order_are_noted(classes: tuple[str, ...], note: str) -> None:
    assert text_order_note(classes).endswith(note) if note else text_order_note(classes) == ""
