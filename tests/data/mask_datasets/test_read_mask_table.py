from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.mask_datasets.mask_files import pattern, save_mask
from tests.data.object_datasets.object_images import save_image

from resnets.data.mask_datasets import open_mask_dataset
from resnets.errors import UserError


def save_table(root: Path, text: str) -> Path:
    for name in ("a", "b"):
        save_image(root / "photos" / f"{name}.jpg")
        save_mask(root / "truth" / f"{name}.png", pattern(0, 1, 2))
    (root / "list.csv").write_text(text)
    return root / "list.csv"


def test_a_table_with_splits_and_groups(tmp_path: Path) -> None:
    table = save_table(
        tmp_path, "path,mask,split,group\nphotos/a.jpg,truth/a.png,train,one\nphotos/b.jpg,truth/b.png,val,two\n"
    )
    assert open_mask_dataset.recognizes(table)
    dataset = open_mask_dataset.read(table)
    assert [(each.split, each.group) for each in dataset.samples] == [("train", "one"), ("val", "two")]
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.samples[0].target.file == str(tmp_path / "truth/a.png")


def test_an_image_without_a_mask_is_an_error(tmp_path: Path) -> None:
    table = save_table(tmp_path, "image,mask\nphotos/a.jpg,truth/a.png\nphotos/b.jpg,\n")
    with pytest.raises(UserError, match=r"Images without a mask: '.*b\.jpg'"):
        open_mask_dataset.read(table)


def test_a_table_of_labels_is_none_of_masks(tmp_path: Path) -> None:
    assert not open_mask_dataset.recognizes(save_table(tmp_path, "path,label\nphotos/a.jpg,cat\n"))
