"""Lists as data: what they may hold, and how everything wrong in them is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resnets.data.datasets.dataset import Sample
from resnets.data.datasets.manifests import read_manifest
from resnets.errors import UserError


def write(tmp_path: Path, text: str, name: str = "list.csv") -> Path:
    for image in ("ant/1.png", "ant/2.png", "bee/1.png", "with,comma.png", "with\u2028line.png"):
        (tmp_path / image).parent.mkdir(exist_ok=True)
        (tmp_path / image).touch()
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_two_names_for_one_column_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, "image,filename,label\nant/1.png,ant/1.png,ant\n")
    with pytest.raises(UserError, match="It could be any of 'image', 'filename': name that one 'path'"):
        read_manifest(path)
    for word in ("dev", "Validation", "test_set"):
        path = write(tmp_path, f"path,label,split\nant/1.png,ant,train\nbee/1.png,bee,{word}\n")
        assert read_manifest(path).samples[1].split == ("test" if "test" in word else "val")


def test_all_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label,split,group,weight\nant/1.png,ant,train,p1,2\nbee/1.png,bee,validation,,\n")
    dataset = read_manifest(path)
    assert dataset.samples == (
        Sample(str(tmp_path / "ant/1.png"), ("ant",), "train", "p1", 2.0),
        Sample(str(tmp_path / "bee/1.png"), ("bee",), "val"),
    )
    assert dataset.class_names == ("ant", "bee")
    assert dataset.root == tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffPath, Label\nant/1.png, ant\nbee/1.png, bee\n",
        "path;label\nant/1.png;ant\nbee/1.png;bee\n",
        "label\tpath\nant\tant/1.png\nbee\tbee/1.png\n",
        "path,label\r\nant/1.png,ant\r\n\r\nbee/1.png,bee\r\n",
        'path,label\n"ant/1.png","ant"\n"bee/1.png"," bee "\n',
        "path,label,\nant/1.png,ant,\nbee/1.png,bee,\n,,\n",
        "file_name,class\nant/1.png,ant\nbee/1.png,bee\n",
        "Filename,Category\nant/1.png,ant\nbee/1.png,bee\n",
        "image,label\nant/1.png,ant\nbee/1.png,bee\n",
    ],
)
def test_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    dataset = read_manifest(write(tmp_path, text))
    assert [(Path(each.path).name, each.label) for each in dataset.samples] == [("1.png", "ant"), ("1.png", "bee")]


def test_names_with_a_delimiter_or_an_odd_line_end(tmp_path: Path) -> None:
    path = write(tmp_path, 'path,label\n"with,comma.png",ant\nwith\u2028line.png,bee\n')
    assert [Path(sample.path).name for sample in read_manifest(path).samples] == [
        "with,comma.png",
        "with\u2028line.png",
    ]
    path = write(tmp_path, '{"path": "with\u2028line.png", "label": "ant"}\n', "list.jsonl")
    assert len(read_manifest(path).samples) == 1


def test_jsonl(tmp_path: Path) -> None:
    rows = [
        {"path": "ant/1.png", "label": "ant", "split": "test", "weight": 0.5, "day": 3, "boxes": [1, 2]},
        {"path": str(tmp_path / "bee/1.png"), "label": 7, "group": "g"},
    ]
    dataset = read_manifest(write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "list.jsonl"))
    assert dataset.class_names == ("7", "ant")
    assert dataset.samples[0] == Sample(str(tmp_path / "ant/1.png"), ("ant",), "test", None, 0.5)
    assert dataset.samples[0].columns == {"day": "3", "boxes": "[1, 2]"}
    assert dataset.samples[1].group == "g"


def test_further_columns_are_kept(tmp_path: Path) -> None:
    dataset = read_manifest(write(tmp_path, "path,label,patient\nant/1.png,ant,p1\nbee/1.png,bee,p2\n"))
    assert [sample.columns for sample in dataset.samples] == [{"patient": "p1"}, {"patient": "p2"}]


def test_labels_are_joined_in_one_unicode_form(tmp_path: Path) -> None:
    dataset = read_manifest(write(tmp_path, "path,label\nant/1.png,caf\u00e9\nant/2.png,cafe\u0301\nbee/1.png,bar\n"))
    assert dataset.class_names == ("bar", "caf\u00e9")
    assert dataset.unicode_variants == (("cafe\u0301", "caf\u00e9"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'path'"),
        ("path,label\n", "lists no images"),
        ("where,label\nant/1.png,ant\n", "has no column 'path', only 'where', 'label'"),
        ("path,kind\nant/1.png,ant\n", "has no column 'label', only 'path', 'kind'"),
        ("path,lable\nant/1.png,ant\n", r"Did you mean 'lable'\?"),
        ("path,label,label\nant/1.png,ant,ant\n", "has the column 'label' twice"),
        ("path,label\nant/1.png,\n", "1 wrong row: line 2: the label is empty"),
        ("path,label\nant/1.png\n", "line 2: the label is empty"),
        ("path,label\n,ant\n", "line 2: the path is empty"),
        ("path,label,weight\nant/1.png,ant,heavy\n", "line 2: the weight 'heavy' is not a number above 0"),
        ("path,label,weight\nant/1.png,ant,-1\n", "the weight '-1'"),
        ("path,label,weight\nant/1.png,ant,nan\n", "the weight 'nan'"),
        ("path,label,split\nant/1.png,ant,holdout\n", "line 2: the split 'holdout' is not train, val or test"),
        ("path,label\nwith,comma.png,ant\n", "line 2: 3 values for 2 columns. Put quotes around a ','"),
        ('path,label\n"ant/1.png,ant\n', "this is not CSV"),
        (
            "path,label\nant/9.png,ant\nbee/1.png,bee\nbee/8.png,bee\n",
            r"2 files that cannot.*line 2: '.*ant/9\.png'; line 4:",
        ),
        ("path,label\nant,ant\n", "1 file that cannot be found: line 2"),
        ("path,label\nant/1.png,ant\0\n", "is not a text file"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(write(tmp_path, text))
    assert "list.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": ', "line 2: this is not JSON"),
        ("[1, 2]", "line 2: expected an object such as"),
        ('{"label": "ant"}', "line 2, has no column 'path', only 'label'"),
        ('{"path": "ant/1.png", "label": ["ant", "bee"]}', r'line 2: the label \["ant", "bee"\] is not one word'),
        ('{"path": "ant/1.png", "label": null}', "line 2: the label is empty"),
        ('{"path": "ant/1.png", "label": "ant", "weight": true}', "line 2: the weight true"),
        ("[" * 100_000, "line 2: this is not JSON"),
    ],
)
def test_what_is_wrong_in_a_jsonl_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, f'{{"path": "ant/1.png", "label": "ant"}}\n{line}\n', "list.jsonl")
    with pytest.raises(UserError, match=message):
        read_manifest(path)


def test_every_wrong_row_is_named_and_the_message_stays_short(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\n" + "ant/1.png,\n" * 50)
    with pytest.raises(UserError) as caught:
        read_manifest(path)
    assert "50 wrong rows: line 2: " in str(caught.value)
    assert "line 21: the label is empty; and 30 more." in str(caught.value)


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    path.write_bytes("path,label\nant/1.png,café\n".encode("latin-1"))
    with pytest.raises(UserError, match="line 2: the label is not text in UTF-8; save the list as UTF-8"):
        read_manifest(path)
    path.write_bytes("path,label\nant/1.png,ant\n".encode("utf-16"))
    with pytest.raises(UserError, match="is not a text file in UTF-8"):
        read_manifest(path)
