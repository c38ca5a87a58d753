from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from tests.data.object_datasets.object_images import HEIGHT, WIDTH, boxes, save_image, some_objects

from resnets.data.datasets import builtin
from resnets.data.datasets.dataset import Dataset, build_dataset
from resnets.data.object_datasets import open_object_dataset
from resnets.data.object_datasets.convert import FORMATS, convert
from resnets.data.object_datasets.objects import ImageObjects, make_sample
from resnets.errors import UserError


def source(root: Path, splits: tuple[str | None, ...] = ("train", "val")) -> Dataset:
    """An image with objects, one without, and one in another folder with the same name, in each split."""
    samples = []
    for split in splits:
        folder = root / "source" / (split or "all")
        for name, target in (
            ("a.jpg", some_objects()),
            ("b.png", ImageObjects((), (HEIGHT, WIDTH))),
            ("c/a.jpg", some_objects()),
        ):
            samples.append(make_sample(str(save_image(folder / name)), target, split=split))
    return build_dataset(root, samples)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("splits", [("train", "val"), (None,), ("train", "val", "test")])
def test_what_is_written_is_read_again(tmp_path: Path, format_: str, splits: tuple[str | None, ...]) -> None:
    dataset = source(tmp_path, splits)
    counts = convert(dataset, format_, tmp_path / "out")
    assert counts == {split or "": 3 for split in splits}
    read, faults = open_object_dataset.read_and_check(tmp_path / "out")
    assert faults == []
    assert open_object_dataset.recognizes(tmp_path / "out")
    assert (read.class_names, read.splits) == (dataset.class_names, dataset.splits)
    assert read.unused.files == []
    by_content = {(Path(sample.path).read_bytes(), sample.split): sample for sample in read.samples}
    for sample in dataset.samples:
        again = by_content[Path(sample.path).read_bytes(), sample.split].target
        expected = [each for each in sample.target.objects if format_ != "yolo" or not each.crowd]
        assert again.size == sample.target.size
        assert [(each.label, each.crowd) for each in again.objects] == [(each.label, each.crowd) for each in expected]
        np.testing.assert_allclose(boxes(again.objects), boxes(expected), atol=1e-9)
        if format_ in ("coco", "jsonl"):
            assert [each.mask for each in again.objects] == [each.mask for each in expected]
        if format_ == "yolo" and expected:
            assert again.objects[1].mask is not None
            np.testing.assert_allclose(again.objects[1].mask.points, expected[1].mask.points, atol=1e-9)  # type: ignore[union-attr]


@pytest.mark.parametrize("format_", ["coco", "yolo"])
def test_all_classes_stay_in_the_list_in_their_order(
    tmp_path: Path, format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = replace(source(tmp_path), listed_classes=("zebra", "dog", "aardvark", "cat"))
    convert(dataset, format_, tmp_path / "out")
    read = open_object_dataset.read(tmp_path / "out")
    assert (read.class_names, read.unused_classes) == (dataset.class_names, ("aardvark", "zebra"))
    assert read.listed_classes == dataset.listed_classes
    assert "zebra" not in capsys.readouterr().err


def test_pycocotools_reads_the_same_boxes(tmp_path: Path) -> None:
    dataset = source(tmp_path)
    convert(dataset, "coco", tmp_path / "out")
    coco = COCO(tmp_path / "out" / "train" / "_annotations.coco.json")
    found = [each for each in coco.loadAnns(coco.getAnnIds()) if each["image_id"] == 1]
    expected = dataset.samples[0].target.objects
    assert [coco.cats[each["category_id"]]["name"] for each in found] == [each.label for each in expected]
    for each, other in zip(found, expected, strict=True):
        x, y, width, height = each["bbox"]
        assert (x, y, x + width, y + height) == other.box
        assert each["area"] == (width * height if other.mask is None else coco.annToMask(each).sum())
        if other.mask is not None:
            np.testing.assert_array_equal(coco.annToMask(each), other.mask.decode(HEIGHT, WIDTH))


def test_a_chain_of_all_formats_keeps_the_boxes_of_shapes(tmp_path: Path) -> None:
    first = previous = open_object_dataset.read(
        builtin.write("shapes", tmp_path / "shapes", size=32, count=30, objects=3)
    )
    for format_ in FORMATS:
        convert(previous, format_, tmp_path / format_)
        previous = open_object_dataset.read(tmp_path / format_)
    last = {Path(sample.path).name: sample for sample in previous.samples}
    for sample in first.samples:
        other = last[Path(sample.path).name]
        assert (other.labels, other.split) == (sample.labels, sample.split)
        np.testing.assert_allclose(boxes(other.target.objects), boxes(sample.target.objects), atol=1e-9)


def test_what_a_format_has_no_place_for_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(source(tmp_path), "yolo", tmp_path / "out")
    printed = capsys.readouterr().err
    assert "the masks of 8 objects have no place" in printed
    assert "4 crowds have no place" in printed


def test_nothing_is_written_where_that_is_refused_or_fails(tmp_path: Path) -> None:
    dataset = source(tmp_path)
    with pytest.raises(UserError, match="No format 'yol'"):
        convert(dataset, "yol", tmp_path / "out")
    with pytest.raises(UserError, match="not an empty folder"):
        convert(dataset, "yolo", tmp_path)
    Path(dataset.samples[-1].path).unlink()
    with pytest.raises(RuntimeError, match="Cannot copy"):
        convert(dataset, "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_of_crowds_only_is_a_category(tmp_path: Path) -> None:
    target = some_objects()
    crowd = make_sample(
        str(save_image(tmp_path / "a.jpg")), ImageObjects((target.objects[0], target.objects[-1]), target.size)
    )
    convert(build_dataset(tmp_path, [crowd]), "coco", tmp_path / "out")
    content = json.loads((tmp_path / "out" / "_annotations.coco.json").read_text())
    assert [each["name"] for each in content["categories"]] == ["cat", "dog"]
    assert open_object_dataset.read(tmp_path / "out").samples[0].target.objects[1].crowd
