from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.data.object_datasets.object_images import HEIGHT, WIDTH, save_image

from resnets.data.object_datasets import open_object_dataset, read_object_table
from resnets.errors import UserError

HEADERS = {
    "ours": "path,label,x1,y1,x2,y2\na.png,cat,4,6,20,18\n",
    "TensorFlow": "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,24,cat,4,6,20,18\n",
    "fractions": "path,label,x1,y1,x2,y2,unit\na.png,cat,.1,.25,.5,.75,fraction\n",
    "Open Images": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\na,x,cat,1,.1,.5,.25,.75,0\n",
    "semicolons": "Path;Label;X1;Y1;X2;Y2\r\na.png;cat;4;6;20;18\r\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png")
    return tmp_path


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_tables_of_other_programs_are_read(root: Path, text: str) -> None:
    (root / "boxes.csv").write_text(text)
    assert open_object_dataset.recognizes(root / "boxes.csv")
    sample = open_object_dataset.read(root / "boxes.csv").samples[0]
    assert (sample.path, sample.labels, sample.target.size) == (str(root / "a.png"), ("cat",), (HEIGHT, WIDTH))
    assert sample.target.objects[0].box == pytest.approx((4, 6, 20, 18))


def test_a_row_is_an_object_or_an_image_without_any(root: Path) -> None:
    header = "path,label,x1,y1,x2,y2,split,group,crowd\n"
    rows = "a.png,cat,4,6,20,18,train,p,0\nb.png,,,,,,val,q,\na.png,dog,4,6,9,9,train,p,1\n"
    (root / "boxes.csv").write_text(header + rows)
    first, second = read_object_table.read(root / "boxes.csv").samples
    assert (first.labels, first.split, first.group) == (("cat",), "train", "p")
    assert [each.crowd for each in first.target.objects] == [False, True]
    assert (second.labels, second.split, second.group) == ((), "val", "q")


def test_json_lines_may_hold_masks(root: Path) -> None:
    row = {
        "path": "a.png",
        "label": 7,
        "x1": 4,
        "y1": 6,
        "x2": 20.5,
        "y2": 18,
        "segmentation": [[4, 6, 20.5, 6, 4, 18]],
    }
    (root / "boxes.jsonl").write_text(json.dumps(row) + "\n")
    sample = open_object_dataset.read(root / "boxes.jsonl").samples[0]
    assert sample.labels == ("7",)
    assert sample.target.objects[0].mask.box() == sample.target.objects[0].box == (4, 6, 20.5, 18)


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(True, True), (1, True), ("True", True), (1.0, True), (False, False), (0, False), (None, False)],
)
def test_a_crowd_is_a_number_or_a_truth_value(root: Path, value: object, crowd: bool) -> None:
    row = {"path": "a.png", "label": "cat", "x1": 4, "y1": 6, "x2": 20, "y2": 18, "crowd": value}
    (root / "boxes.jsonl").write_text(json.dumps(row) + "\n")
    sample = read_object_table.read(root / "boxes.jsonl").samples[0]
    assert (sample.target.objects[0].crowd, sample.labels) == (crowd, () if crowd else ("cat",))


def test_a_mask_that_cannot_be_read_leaves_the_box(root: Path) -> None:
    row = {"path": "a.png", "label": "cat", "x1": 4, "y1": 6, "x2": 20, "y2": 18, "segmentation": [[4, 6]]}
    (root / "boxes.jsonl").write_text(json.dumps(row) + "\n")
    target = read_object_table.read(root / "boxes.jsonl").samples[0].target
    assert [(each.box, each.mask) for each in target.objects] == [((4, 6, 20, 18), None)]
    assert [(each.number, each.kind, each.note[:7]) for each in target.faults] == [(1, "bad-mask", "line 1:")]


def test_roboflow_has_a_table_in_each_split(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        save_image(tmp_path / split / "a.png")
        (tmp_path / split / "_annotations.csv").write_text(HEADERS["TensorFlow"])
    assert open_object_dataset.recognizes(tmp_path)
    assert open_object_dataset.read(tmp_path).splits == ("train", "val")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (",4,6,20,18", "no-class"),
        ("cat,4,6,20,", "bad-box"),
        ("cat,4,6,20,x", "bad-box"),
        ("cat,4,6,20,inf", "bad-box"),
    ],
)
def test_rows_that_cannot_be_read_are_faults(root: Path, row: str, fault: str) -> None:
    (root / "boxes.csv").write_text(f"{HEADERS['ours']}a.png,{row}\n")
    target = read_object_table.read(root / "boxes.csv").samples[0].target
    assert [(each.number, each.kind) for each in target.faults] == [(2, fault)]
    assert target.faults[0].note.startswith("line 3: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,x1,y1,x2,y2,unit\na.png,cat,1,2,3,4,miles\n", "line 2: the unit 'miles'"),
        ("path,label,x1,y1,x2,y2,split\na.png,cat,1,2,3,4,often\n", "line 2: the split 'often'"),
        (
            "path,label,x1,y1,x2,y2,split\na.png,cat,1,2,3,4,train\na.png,cat,1,2,3,4,val\n",
            "has 'train', 'val' as its split",
        ),
        ("path,label,x1,y1,x2,y2\n,cat,1,2,3,4\n", "line 2: the path is empty"),
        ("path,label,x1,y1,x2,y2,crowd\na.png,cat,1,2,3,4,yes\n", "line 2: crowd is 'yes'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(root: Path, text: str, message: str) -> None:
    (root / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_object_table.read(root / "boxes.csv")


def test_a_list_of_images_is_no_table_of_objects(root: Path) -> None:
    (root / "images.csv").write_text("path,label\na.png,cat\n")
    assert not read_object_table.recognizes(root / "images.csv")
    assert not read_object_table.recognizes(root)
