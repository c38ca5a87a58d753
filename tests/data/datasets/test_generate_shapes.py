"""Generated shapes: their truth is true, and a seed is a set of images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.datasets import builtin, generate_shapes, open_dataset
from resnets.data.datasets.generate_shapes import CLASSES, Settings, box, draw


@pytest.mark.parametrize("objects", [1, 6])
def test_boxes_and_masks_tell_where_the_shapes_are(objects: int) -> None:
    chosen = Settings(size=96, objects=objects, seed=4)
    several = 0
    for index in range(60):
        image = draw(index, chosen)
        assert image.pixels.shape == (96, 96, 3)
        assert image.pixels.dtype == image.mask.dtype == np.uint8
        assert 1 <= len(image.labels) == len(image.boxes) <= objects
        assert image.labels[0] == CLASSES[index % len(CLASSES)]
        assert sorted(np.unique(image.mask)) == list(range(len(image.labels) + 1))
        areas = [int((image.mask == number).sum()) for number in range(1, len(image.labels) + 1)]
        for number, (x, y, width, height) in enumerate(image.boxes, start=1):
            inside = image.mask[y : y + height, x : x + width] == number
            assert inside.sum() == areas[number - 1]
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            if image.labels[number - 1] == "circle":  # none hides a part of another
                assert inside.mean() == pytest.approx(np.pi / 4, rel=0.08)
        assert max(areas) == areas[0]
        several += len(image.labels) > 1
    assert (several > 20) == (objects > 1)


def test_a_shape_differs_from_its_background() -> None:
    for index in range(40):
        image = draw(index, Settings(seed=1))
        inside, outside = image.pixels[image.mask == 1], image.pixels[image.mask == 0]
        assert np.abs(inside.mean(axis=0) - outside.mean(axis=0)).max() > 30


def test_outlines_have_the_area_of_their_shape() -> None:
    """Of a circle of radius 1: the whole; of the others what their formula says."""
    areas = {
        "circle": 3.14,
        "hexagon": 2.60,
        "square": 2.00,
        "triangle": 1.30,
        "star": 10 * 0.5 * 0.42 * np.sin(np.pi / 5),
    }
    for label, area in areas.items():
        points = np.array(generate_shapes._outline(label, (0, 0), 1, 0.3))
        x, y = points.T
        assert abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2 == pytest.approx(area, abs=0.02)


def test_an_image_depends_on_its_index_and_not_on_the_count(tmp_path: Path) -> None:
    builtin.write("shapes", tmp_path / "few", count=30, size=32, seed=3)
    builtin.write("shapes", tmp_path / "more", count=60, size=32, seed=3)
    builtin.write("shapes", tmp_path / "other", count=30, size=32, seed=4)
    few = {path.relative_to(tmp_path / "few"): path.read_bytes() for path in (tmp_path / "few").rglob("*.png")}
    assert len(few) == 60
    assert all((tmp_path / "more" / path).read_bytes() == content for path, content in few.items())
    assert all(
        (tmp_path / "other" / path).read_bytes() != content
        for path, content in few.items()
        if "masks" not in path.parts
    )


def test_the_folder_is_data_and_so_is_the_list(tmp_path: Path) -> None:
    builtin.write("shapes", tmp_path, count=60, size=32, objects=3)
    folder, listed = open_dataset.read(tmp_path), open_dataset.read(tmp_path / "labels.jsonl")
    assert folder.class_names == listed.class_names == CLASSES
    assert not folder.unused.files  # what describes the shapes is ours
    assert not folder.unused.folders
    assert Counter(sample.split for sample in folder.samples) == {"train": 36, "val": 12, "test": 12}
    assert {(sample.path, sample.label, sample.split) for sample in folder.samples} == {
        (sample.path, sample.label, sample.split) for sample in listed.samples
    }
    for line in (tmp_path / "labels.jsonl").read_text().splitlines():
        row = json.loads(line)
        with Image.open(tmp_path / row["path"]) as image, Image.open(tmp_path / row["mask"]) as masks:
            mask = np.asarray(masks)
            assert image.size == masks.size == (row["width"], row["height"]) == (32, 32)
        assert row["objects"][0]["label"] == row["label"]
        assert [tuple(each["box"]) for each in row["objects"]] == [
            box(mask == n) for n in range(1, int(mask.max()) + 1)
        ]
