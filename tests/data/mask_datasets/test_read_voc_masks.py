from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.mask_datasets.mask_files import pattern, save_mask
from tests.data.object_datasets.object_images import save_image

from resnets.data.mask_datasets import open_mask_dataset, read_voc_masks
from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.data.mask_datasets.read_voc_masks import NAMES
from resnets.errors import UserError

VALUES = pattern(0, 15, 20, 255)


def save_voc(root: Path, masks: dict[str, np.ndarray], lists: dict[str, list[str]], mode: str = "P") -> Path:
    for stem, mask in masks.items():
        save_image(root / "JPEGImages" / f"{stem}.jpg")
        save_mask(root / "SegmentationClass" / f"{stem}.png", mask, mode)
    for name, stems in lists.items():
        (root / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return root


def test_a_palette_is_read_as_indices_and_the_lists_are_the_splits(tmp_path: Path) -> None:
    masks = dict.fromkeys(("2007_01", "2007_02", "2007_03"), VALUES)
    root = save_voc(tmp_path, masks, {"train": ["2007_01"], "val": ["2007_02"], "trainval": ["2007_01", "2007_02"]})
    assert open_mask_dataset.recognizes(root)
    dataset = open_mask_dataset.read(root)
    assert dataset.class_names == ("background", "person", "tvmonitor")
    assert dataset.listed_classes == NAMES
    assert {Path(each.path).stem: each.split for each in dataset.samples} == {"2007_01": "train", "2007_02": "val"}
    expected = np.select([VALUES == 0, VALUES == 15, VALUES == 20], [0, 1, 2], IGNORE)
    assert np.array_equal(dataset.samples[0].target.read(dataset.class_names), expected)
    assert dataset.samples[0].target.classes.colors[15] == (192, 128, 128)


def test_a_palette_and_gray_are_the_same(tmp_path: Path) -> None:
    """A reader of colors gives 192, 128, 128, or the gray 147, for the index 15."""
    palette, gray = (
        open_mask_dataset.read(save_voc(tmp_path / mode, {"a": VALUES}, {}, mode)).samples[0].target
        for mode in ("P", "L")
    )
    assert np.asarray(Image.open(palette.file).convert("RGB"))[0, 20].tolist() == [192, 128, 128]
    assert np.array_equal(palette.read(NAMES), gray.read(NAMES))


def test_an_image_of_a_list_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'gone'"):
        open_mask_dataset.read(save_voc(tmp_path, {"a": VALUES}, {"train": ["a", "gone"]}))


def test_other_classes_are_named_by_a_file(tmp_path: Path) -> None:
    root = save_voc(tmp_path, {"a": pattern(0, 1, 255)}, {})
    (root / "classes.txt").write_text("floor\nwall\nvoid\n")
    assert open_mask_dataset.read(root, on_inaccessible="skip").class_names == ("floor", "wall")


def test_the_palette_is_vocs() -> None:
    assert read_voc_masks.palette()[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert read_voc_masks.palette()[255] == (224, 224, 192)
