"""Images with any number of labels: the forms in which they are given, and what is wrong in them, named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.data.datasets import open_dataset
from resnets.data.datasets.dataset import Dataset
from resnets.errors import UserError

EXPECTED = {"1.png": ("ant", "bee"), "2.png": (), "3.png": ("bee",)}


def labels(dataset: Dataset) -> dict[str, object]:
    return {Path(sample.path).name: sample.labels for sample in dataset.samples}


def write(folder: Path, text: str, name: str = "list.csv") -> Path:
    folder.mkdir(exist_ok=True)
    for image in EXPECTED:
        (folder / image).touch()
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "path,labels\n1.png,bee|ant\n2.png,\n3.png,bee\n"),
        ("list.csv", "Filename;Labels\n1.png;ant|bee|ant\n2.png;\n3.png;bee\n"),
        ("list.csv", 'path,labels\n1.png,"ant; bee"\n2.png,\n3.png,bee\n'),
        ("list.csv", "image_name,tags\n1.png,bee ant\n2.png,\n3.png,bee\n"),
        ("list.tsv", "path\ttags\n1.png\tbee|ant\n2.png\t\n3.png\tbee\n"),
        ("list.csv", "path,ant,bee\n1.png,1,1\n2.png,0,0\n3.png,0,1\n"),
        ("list.csv", "file,ant,bee\n1.png,True,True\n2.png,False,False\n3.png,0.0,1.0\n"),
        (
            "list.jsonl",
            '{"path": "1.png", "labels": ["ant", "bee"]}\n{"path": "2.png", "labels": []}\n'
            '{"path": "3.png", "labels": ["bee"]}\n',
        ),
        (
            "list.jsonl",
            '{"file": "1.png", "label": ["ant", "bee"]}\n{"file": "2.png", "label": []}\n{"file": "3.png", "label": "bee"}\n',
        ),
    ],
)
def test_lists_of_several_labels(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, text, name)
    assert open_dataset.is_multilabel(path)
    dataset = open_dataset.read(path)
    assert labels(dataset) == EXPECTED
    assert dataset.class_names == ("ant", "bee")


@pytest.mark.parametrize(
    "text",
    [
        "path,label\n1.png,ant|bee\n3.png,bee\n",
        "path,labels\n1.png,ant\n3.png,bee\n",
        "path,category,blurred\n1.png,ant,0\n3.png,bee,1\n",
        "path,class,tags\n1.png,ant,sharp dark\n3.png,bee,\n",
    ],
)
def test_lists_of_one_label_stay_lists_of_one_label(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert not open_dataset.is_multilabel(path)
    assert all(sample.label for sample in open_dataset.read(path).samples)


def test_other_columns_are_read_and_flags_keep_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "path,split,weight,Patient,Ant,never\n1.png,train,2,p1,1,0\n2.png,val,,p2,0,0\n"
    dataset = open_dataset.read(write(tmp_path, text))
    first = dataset.samples[0]
    assert (first.labels, first.split, first.weight, first.columns) == (("Ant",), "train", 2.0, {"patient": "p1"})
    assert dataset.class_names == ("Ant",)
    assert dataset.unused_classes == ("never",)
    assert "left out 'never': 1 for no image" in capsys.readouterr().err


def test_roboflow_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "filename, weight, image\n1.png, 1, 1\n2.png, 0, 0\n"  # classes may be called as columns of lists are
    for split in ("train", "valid", "test"):
        write(tmp_path / split, text, "_classes.csv")
    (tmp_path / "train" / "_annotations.coco.json").touch()
    (tmp_path / "README.txt").touch()
    (tmp_path / "old").mkdir()
    assert open_dataset.is_multilabel(tmp_path)
    dataset = open_dataset.read(tmp_path)
    assert labels(dataset) == {"1.png": ("image", "weight"), "2.png": ()}
    assert {split: len(dataset.subset(split)) for split in dataset.splits} == {"train": 2, "val": 2, "test": 2}
    assert dataset.samples[0].weight == 1
    assert f"not used: 3 .png, 1 .txt, the folder '{tmp_path / 'old'}'" in capsys.readouterr().err
    one = open_dataset.read(tmp_path / "valid")
    assert (len(one.samples), one.splits) == (2, ())
    write(tmp_path / "dev", text, "_classes.csv")
    with pytest.raises(UserError, match=r"'.*dev' and '.*valid' are both the val split"):
        open_dataset.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "path,ant,bee\n1.png,1,1\n2.png,0,2\n", "line 3: the value '2' of 'bee' is not 0 or 1"),
        ("list.csv", "path,ant,bee\n1.png,1,1\n2.png,0\n", "line 3: the value '' of 'bee' is not 0 or 1"),
        ("list.csv", "path,labels\n1.png,ant|bee\n9.png,ant\n", r"1 file that cannot be found: line 3: '.*9\.png'"),
        ("list.csv", "path,labels\n1.png,\n2.png,\n", "None of the 2 images of '.*' has a label"),
        ("list.csv", "path,tags,split\n1.png,ant,holdout\n", "line 2: the split 'holdout'"),
        ("_classes.csv", "filename,ant\n1.png,yes\n", "line 2: the value 'yes' of 'ant' is not 0 or 1"),
        ("_classes.csv", "filename,ant,ant\n1.png,1,1\n", "has the column 'ant' twice"),
        (
            "list.jsonl",
            '{"path": "1.png", "labels": ["a", "b"]}\n{"path": "2.png", "labels": null}',
            "line 2: the labels null",
        ),
        (
            "list.jsonl",
            '{"path": "1.png", "labels": ["a", ["b"]]}',
            r'line 1: the labels \["a", \["b"\]\] are not a list of',
        ),
        ("list.jsonl", '{"path": "1.png", "labels": ["a|b", "c"]}', r"line 1: the label 'a\|b' contains '\|'"),
        ("list.jsonl", '{"path": "1.png", "labels": ["a", ""]}', "line 1: the labels"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(UserError, match=message) as caught:
        open_dataset.read(tmp_path if name == "_classes.csv" else path)
    assert "\n" not in str(caught.value)


def test_a_class_folder_is_no_multilabel_data(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        write(tmp_path / name, json.dumps([]), "notes.txt")
    assert not open_dataset.is_multilabel(tmp_path)
    assert {sample.labels for sample in open_dataset.read(tmp_path).samples} == {("ant",), ("bee",)}
    assert open_dataset.is_multilabel("digit-scenes")
    assert not open_dataset.is_multilabel("digits")
