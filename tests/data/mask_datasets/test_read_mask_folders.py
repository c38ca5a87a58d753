from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.data.mask_datasets.mask_files import pattern, save_mask, save_pair
from tests.data.object_datasets.object_images import save_image

from resnets.data.mask_datasets import open_mask_dataset
from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.data.mask_datasets.read_mask_folders import SUFFIXES
from resnets.errors import UserError


@pytest.mark.parametrize("end", ["", *SUFFIXES])
def test_images_and_masks_of_the_same_name(tmp_path: Path, end: str) -> None:
    save_pair(tmp_path, "a", pattern(0, 1, 2, 255), end=end)
    dataset = open_mask_dataset.read(tmp_path)
    assert open_mask_dataset.recognizes(tmp_path)
    assert dataset.class_names == ("0", "1", "2")
    assert np.unique(dataset.samples[0].target.read(dataset.class_names)).tolist() == [0, 1, 2, IGNORE]


def test_names_are_compared_as_a_whole_and_the_others_are_listed_both_ways(tmp_path: Path) -> None:
    save_pair(tmp_path, "img_1", pattern(0, 1, 2))
    save_image(tmp_path / "images" / "img_10.jpg")
    save_mask(tmp_path / "masks" / "img_100_mask.png", pattern(0, 1))
    dataset, faults = open_mask_dataset.read_and_check(tmp_path)
    assert [Path(each.path).stem for each in dataset.samples] == ["img_1"]
    assert {(fault.kind, Path(fault.path).name) for fault in faults} >= {
        ("no-mask", "img_10.jpg"),
        ("no-image", "img_100_mask.png"),
    }
    with pytest.raises(UserError, match=r"2 errors in its masks.*img_10\.jpg.*img_100_mask\.png"):
        open_mask_dataset.read(tmp_path)
    assert len(open_mask_dataset.read(tmp_path, on_inaccessible="skip").samples) == 1


@pytest.mark.parametrize("order", ["split first", "split inside"])
def test_folders_for_splits(tmp_path: Path, order: str) -> None:
    for split in ("train", "val"):
        if order == "split first":
            save_pair(tmp_path / split, "a", pattern(0, 1))
        else:
            save_pair(tmp_path, "a", pattern(0, 1), split=split)
    dataset = open_mask_dataset.read(tmp_path)
    assert [each.split for each in dataset.samples] == ["train", "val"]
    assert dataset.class_names == ("background", "foreground")


def save_camvid(root: Path, stem: str, split: str = "train") -> None:
    save_image(root / split / f"{stem}.png")
    save_mask(root / f"{split}annot" / f"{stem}.png", pattern(0, 3, 11))


def test_segnets_layout_of_camvid(tmp_path: Path) -> None:
    save_camvid(tmp_path, "0001TP_006690")
    save_camvid(tmp_path, "0016E5_07959", "val")
    dataset = open_mask_dataset.read(tmp_path)
    assert dataset.class_names == ("Sky", "Road")
    assert [(each.split, each.group) for each in dataset.samples] == [("train", "0001TP"), ("val", "0016E5")]
    assert np.unique(dataset.samples[0].target.read(("Sky", "Road"))).tolist() == [0, 1, IGNORE]


def test_the_same_folders_with_other_names_are_not_camvid(tmp_path: Path) -> None:
    save_camvid(tmp_path, "street_1")
    assert open_mask_dataset.read(tmp_path).class_names == ("0", "3", "11")


COLORS = [(0, 0, 0), (128, 128, 128), (64, 0, 128)]


def save_colors(root: Path) -> None:
    """CamVid's own layout: `*_L.png` with colors, and class_dict.csv with their names."""
    mask = pattern(0, 1, 2)
    save_image(root / "train" / "0001TP_006690.png")
    save_mask(root / "train_labels" / "0001TP_006690_L.png", mask, "RGB", COLORS)
    (root / "class_dict.csv").write_text("name,r,g,b\nAnimal,64,128,64\nCar,64,0,128\nVoid,0,0,0\nSky,128,128,128\n")


def test_colors_with_their_names(tmp_path: Path) -> None:
    save_colors(tmp_path)
    dataset = open_mask_dataset.read(tmp_path)
    target = dataset.samples[0].target
    assert dataset.class_names == ("Car", "Sky")
    assert target.classes.colors == ((64, 128, 64), (64, 0, 128), (128, 128, 128))
    mask = pattern(0, 1, 2)
    assert np.array_equal(target.read(("Sky", "Car")), np.select([mask == 1, mask == 2], [0, 1], IGNORE))


def save_original_camvid(root: Path) -> None:
    save_image(root / "701_StillsRaw_full" / "0001TP_006690.png")
    mask = root / "LabeledApproved_full" / "0001TP_006690_L.png"
    save_mask(mask, pattern(0, 1, 2), "RGB", COLORS)


def test_the_original_folders_of_camvid(tmp_path: Path) -> None:
    """Their masks have colors, never SegNet's numbers; the file beside them names the colors."""
    save_original_camvid(tmp_path)
    with pytest.raises(UserError, match=r"#808080.*classes\.csv"):
        open_mask_dataset.read(tmp_path)
    (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n64 0 128\t\tCar\n0 0 0\tVoid\n128 128 128\tSky\n")
    dataset = open_mask_dataset.read(tmp_path)
    assert dataset.class_names == ("Car", "Sky")
    assert dataset.samples[0].group == "0001TP"


def test_unknown_colors_are_listed_with_their_counts(tmp_path: Path) -> None:
    save_colors(tmp_path)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nCar,64,0,128\nVoid,0,0,0\n")
    count = int((pattern(0, 1, 2) == 1).sum())
    with pytest.raises(UserError, match=rf"#808080 \({count} pixels\)"):
        open_mask_dataset.read(tmp_path)


def test_camvid_itself(tmp_path: Path, shared: Callable[[str], Path]) -> None:
    """701 frames of 4 sequences; SegNet's split, which two of them cross."""
    with tarfile.open(shared("data/camvid.tar")) as tar:
        tar.extractall(tmp_path, filter="data")
    dataset, faults = open_mask_dataset.read_and_check(tmp_path / "CamVid")
    assert {split: len(dataset.subset(split)) for split in dataset.splits} == {"train": 367, "val": 101, "test": 233}
    assert len(dataset.class_names) == 11
    assert {each.group for each in dataset.samples} == {"0001TP", "0006R0", "0016E5", "Seq05VD"}
    assert {fault.kind for fault in faults} == {"class-shares", "group-in-two-splits"}
