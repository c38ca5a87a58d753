from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers import labels
from tests.data.mask_datasets.mask_files import pattern, save_mask
from tests.data.object_datasets.object_images import save_image

from resnets.data.mask_datasets import open_mask_dataset
from resnets.data.mask_datasets.mask_classes import IGNORE, make_classes
from resnets.data.mask_datasets.read_cityscapes import CLASSES, LABEL_IDS
from resnets.errors import UserError

ROADS = ("road", "sky", "car")


def save_city(root: Path, split: str, city: str, mask: np.ndarray, kind: str = "labelIds") -> None:
    stem = f"{city}_000000_000019"
    save_image(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png")
    save_mask(root / "gtFine" / split / city / f"{stem}_gtFine_{kind}.png", mask)


def test_all_labels_are_mapped_as_by_cityscapes_own_table() -> None:
    assert len(labels.labels) == 35
    classes = make_classes(LABEL_IDS.names, LABEL_IDS.colors, ignored=LABEL_IDS.ignored)
    for label in labels.labels:
        value = np.array([label.id], np.int64).astype(np.uint8)  # -1, the license plate, is 255 in a file
        expected = label.trainId if label.trainId not in (-1, 255) else IGNORE
        assert classes.indices(value).tolist() == [expected], label.name
        if expected != IGNORE:
            assert classes.names[expected] == label.name
            assert classes.colors[expected] == label.color
    assert len(CLASSES) == 19


def test_the_tree_is_read_with_splits_and_cities(tmp_path: Path) -> None:
    values = pattern(7, 23, 26, 255, 0)
    save_city(tmp_path, "train", "aachen", values)
    save_city(tmp_path, "train", "bochum", values)
    save_city(tmp_path, "val", "lindau", values)
    save_city(tmp_path, "test", "berlin", pattern(0, 3))  # the published masks of the test split have no class
    dataset, faults = open_mask_dataset.read_and_check(tmp_path)
    assert dataset.class_names == ROADS
    assert [(each.split, each.group) for each in dataset.samples] == [
        ("train", "aachen"),
        ("train", "bochum"),
        ("val", "lindau"),
    ]
    assert "1 test image" in dataset.layout_warnings[0]
    found = dataset.samples[0].target.read(ROADS)
    assert np.array_equal(found, np.select([values == 7, values == 23, values == 26], [0, 1, 2], IGNORE))
    assert not [fault for fault in faults if fault.kind in (*open_mask_dataset.ERRORS, "empty-mask")]


def test_train_ids_are_taken_where_they_are_present(tmp_path: Path) -> None:
    save_city(tmp_path, "train", "aachen", pattern(7, 23, 26))
    save_city(tmp_path, "train", "aachen", pattern(0, 10, 13, 255), "labelTrainIds")
    dataset = open_mask_dataset.read(tmp_path)
    assert dataset.class_names == ROADS
    classes = dataset.samples[0].target.classes
    assert [classes.written_values[classes.names.index(name)] for name in ROADS] == [
        7,
        23,
        26,
    ]  # as the server takes them
    assert np.unique(dataset.samples[0].target.read(ROADS)).tolist() == [0, 1, 2, IGNORE]


def test_colors_alone_are_refused(tmp_path: Path) -> None:
    save_city(tmp_path, "train", "aachen", pattern(7, 23), "color")
    with pytest.raises(UserError, match="license plate"):
        open_mask_dataset.read(tmp_path)
