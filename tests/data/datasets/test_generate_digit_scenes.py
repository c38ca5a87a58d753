"""Scenes of digits: their classes and boxes are true, and no digit is in two splits."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.datasets import builtin, digits, open_dataset
from resnets.data.datasets.generate_digit_scenes import CLASSES, Settings, draw


def test_the_files_agree_and_no_digit_is_in_two_splits(tmp_path: Path) -> None:
    dataset = open_dataset.read(builtin.write("digit-scenes", tmp_path, count=200))
    assert dataset.class_names == CLASSES
    assert {split: len(dataset.subset(split)) for split in dataset.splits} == {"train": 120, "val": 40, "test": 40}
    for split in dataset.splits:
        coco = json.loads((tmp_path / split / "_annotations.coco.json").read_text())
        names = {each["id"]: each["name"] for each in coco["categories"]}
        found: dict[str, set[str]] = {each["file_name"]: set() for each in coco["images"]}
        files = {each["id"]: each["file_name"] for each in coco["images"]}
        for annotation in coco["annotations"]:
            found[files[annotation["image_id"]]].add(names[annotation["category_id"]])
        assert {Path(sample.path).name: set(sample.labels or ()) for sample in dataset.subset(split)} == found
    available = {split: [digit for digit in digits.read() if digit.split == split] for split in digits.FRACTIONS}
    used = {
        split: {digit.index for index in range(200) for digit in draw(index, found_, Settings()).digits}
        for split, found_ in available.items()
    }
    assert len(set().union(*used.values())) == sum(map(len, used.values())) > 200


@pytest.mark.parametrize("size", [32, 64, 200])
def test_boxes_hold_the_digits_and_do_not_meet(size: int) -> None:
    available = digits.read()
    numbers: Counter[int] = Counter()
    for index in range(60):
        scene = draw(index, available, Settings(size=size))
        numbers[len(scene.digits)] += 1
        pixels = scene.pixels.astype(float)
        assert pixels.shape == (size, size)
        background = np.median(pixels)
        free = np.ones_like(pixels, dtype=bool)
        for x, y, width, height in scene.boxes:
            assert x >= 0
            assert y >= 0
            assert x + width <= size
            assert y + height <= size
            inside = pixels[y : y + height, x : x + width] - background
            assert free[y : y + height, x : x + width].all()
            free[y : y + height, x : x + width] = False
            assert min(edge.max() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1])) > 15  # tight
        assert (
            pixels[free] - background
        ).max() < 90  # what is outside is too dark to belong to a digit, even where two margins meet
    assert sum(count for number, count in numbers.items() if number > 1) > 30
    assert max(numbers) <= 4


def test_scenes_do_not_depend_on_their_number_but_on_the_seed(tmp_path: Path) -> None:
    for name, count, seed in (("a", 50, 0), ("b", 100, 0), ("c", 50, 1)):
        builtin.write("digit-scenes", tmp_path / name, count=count, seed=seed, size=32)
    assert (tmp_path / "a/train/000000.png").read_bytes() == (tmp_path / "b/train/000000.png").read_bytes()
    assert (tmp_path / "a/train/000000.png").read_bytes() != (tmp_path / "c/train/000000.png").read_bytes()
    with Image.open(tmp_path / "a/val/000003.png") as image:
        assert (image.size, image.mode) == ((32, 32), "L")
