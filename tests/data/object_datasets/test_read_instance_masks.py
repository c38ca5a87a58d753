from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.object_datasets.object_images import boxes, save_image

from resnets.data.object_datasets import open_object_dataset
from resnets.errors import UserError


def test_each_number_is_an_object(tmp_path: Path) -> None:
    numbers = np.zeros((24, 40), dtype=np.uint8)
    numbers[2:6, 3:9], numbers[10:20, 30:40] = 1, 7
    for name in ("a", "b"):
        save_image(tmp_path / "images" / f"{name}.jpg")
    (tmp_path / "instance_masks").mkdir()
    Image.fromarray(numbers).save(tmp_path / "instance_masks" / "a.png")
    Image.fromarray(np.zeros_like(numbers)).save(tmp_path / "instance_masks" / "b_mask.png")
    assert open_object_dataset.recognizes(tmp_path)
    first, second = open_object_dataset.read(tmp_path).samples
    assert [each.box for each in first.target.objects] == [(3, 2, 9, 6), (30, 10, 40, 20)]
    np.testing.assert_array_equal(first.target.objects[1].mask.decode(24, 40), numbers == 7)
    assert (first.labels, second.labels) == (("object", "object"), ())


def test_a_mask_of_colors_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    save_image(tmp_path / "instance_masks" / "a.png")
    with pytest.raises(UserError, match="its mode is RGB"):
        open_object_dataset.read(tmp_path)
    (tmp_path / "instance_masks" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="cannot be read"):
        open_object_dataset.read(tmp_path)


def test_penn_fudan_has_the_boxes_that_its_authors_state(tmp_path: Path, shared: Callable[[str], Path]) -> None:
    with tarfile.open(shared("data/penn_fudan.tar")) as tar:
        tar.extractall(tmp_path, filter="data")
    root = tmp_path / "PennFudanPed"
    dataset, faults = open_object_dataset.read_and_check(root)
    assert faults == []
    assert len(dataset.samples) == 170
    differences = []
    for sample in dataset.samples:
        text = (root / "Annotation" / f"{Path(sample.path).stem}.txt").read_text(encoding="latin-1")
        found = re.findall(r"Xmax, Ymax\) : \((\d+), (\d+)\) - \((\d+), (\d+)\)", text)
        stated = np.array(found, dtype=float) - [1, 1, 0, 0]  # pixels are counted from 1, both ends included
        differences.append(np.abs(boxes(sample.target.objects) - stated).max(axis=1))
    every = np.concatenate(differences)
    assert len(every) == 423
    assert every.max() <= 6  # a few of the stated boxes are not those of the masks
    assert (every == 0).mean() > 0.95
