"""`split.csv` of images with objects: a changed box is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.object_datasets.object_images import save_image

from resnets.data.datasets.dataset import Dataset
from resnets.data.object_datasets import open_object_dataset
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import UserError


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Ten images with a box each in YOLO's format."""
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data" / "data.yaml").write_text("names: [cat, dog]\ntrain: images\n")
    for i in range(10):
        save_image(tmp_path / "data" / "images" / f"{i}.png", 40 + i, 40)
        (tmp_path / "data" / "labels" / f"{i}.txt").write_text(f"{i % 2} 0.5 0.5 0.2 0.{i + 1}\n")
    return tmp_path / "data"


def divided(location: Path) -> Dataset:
    dataset = open_object_dataset.read(location)
    return make_split(replace(dataset, samples=[replace(each, split=None) for each in dataset.samples]))


def test_a_changed_box_is_named(boxes: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    write_split(split, divided(boxes))
    assert split.read_text().splitlines()[0] == "path,sha256,label,split,group,annotation"
    assert len(read_split(split, open_object_dataset.read(boxes)).samples) == 10
    (boxes / "labels" / "3.txt").write_text("1 0.5 0.5 0.2 0.41\n")
    with pytest.raises(UserError, match=r"no longer what .*: 1 annotated differently \('images/3\.png'\)"):
        read_split(split, open_object_dataset.read(boxes))


def test_a_file_without_the_column_still_loads(boxes: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    write_split(split, divided(boxes))
    lines = [line.rpartition(",")[0] for line in split.read_text().splitlines()]
    split.write_text("\n".join(lines) + "\n")
    (boxes / "labels" / "3.txt").write_text("1 0.5 0.5 0.2 0.41\n")
    assert len(read_split(split, open_object_dataset.read(boxes)).samples) == 10
