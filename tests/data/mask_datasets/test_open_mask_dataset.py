from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.data.mask_datasets.mask_files import pattern, save_mask, save_pair
from tests.data.object_datasets.object_images import HEIGHT, WIDTH, save_image

from resnets.data.datasets import builtin, open_dataset
from resnets.data.datasets.generate_shapes import CLASSES, Settings, draw
from resnets.data.mask_datasets import open_mask_dataset
from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.data.object_datasets import open_object_dataset
from resnets.data.split.make_split import make_split
from resnets.errors import UserError


def test_0_and_255_are_refused_with_the_setting_that_answers(tmp_path: Path) -> None:
    values = pattern(0, 255)
    save_pair(tmp_path, "a", values)
    with pytest.raises(UserError, match=r"only 0 and 255.*`task\.mask_values=0=background,1=person,255=ignore`"):
        open_mask_dataset.read(tmp_path)
    with pytest.raises(UserError, match="only 0 and 255"):  # it is no image that could be left out
        open_mask_dataset.read(tmp_path, on_inaccessible="skip")
    dataset = open_mask_dataset.read(tmp_path, values=("0=background", "255=person"))
    assert dataset.class_names == ("background", "person")
    assert np.array_equal(dataset.samples[0].target.read(dataset.class_names), values // 255)
    assert dataset.samples[0].target.classes.values == ((0,), (255,))


@pytest.mark.parametrize(("values", "mode"), [((0, 1), "L"), ((0, 1), "1"), ((0, 38), "L")])
def test_two_values_are_background_and_foreground(tmp_path: Path, values: tuple[int, ...], mode: str) -> None:
    save_pair(tmp_path, "a", pattern(*values), mode=mode)
    dataset = open_mask_dataset.read(tmp_path)
    assert dataset.class_names == ("background", "foreground")
    assert np.unique(dataset.samples[0].target.read(dataset.class_names)).tolist() == [0, 1]


def test_values_of_16_bits(tmp_path: Path) -> None:
    values = pattern(0, 1, 2).astype(np.uint16) * 1000
    save_pair(tmp_path, "a", pattern(0))
    save_mask(tmp_path / "masks" / "a.png", values)
    dataset = open_mask_dataset.read(tmp_path)
    assert dataset.class_names == ("0", "1000", "2000")
    assert np.array_equal(dataset.samples[0].target.read(dataset.class_names), values // 1000)


def test_values_that_the_user_did_not_name_are_refused_or_ignored(tmp_path: Path) -> None:
    values = pattern(0, 1, 2)
    save_pair(tmp_path, "a", values)
    given = ("0=floor", "2=wall")
    with pytest.raises(UserError, match=rf"1 \({(values == 1).sum()} pixels\)"):
        open_mask_dataset.read(tmp_path, values=given)
    dataset = open_mask_dataset.read(tmp_path, values=given, on_inaccessible="skip")
    expected = np.select([values == 0, values == 2], [0, 1], IGNORE)
    assert np.array_equal(dataset.samples[0].target.read(("floor", "wall")), expected)


def test_a_jpeg_mask_needs_the_values_that_are_meant(tmp_path: Path) -> None:
    y, x = np.ogrid[:120, :160]
    values = np.where((x - 80) ** 2 + (y - 60) ** 2 < 40**2, 200, 0).astype(np.uint8)
    save_pair(tmp_path, "a", values)
    (tmp_path / "masks" / "a.png").unlink()
    save_mask(tmp_path / "masks" / "a.jpg", values)
    with pytest.raises(UserError, match=r"blended values.*`task\.mask_value_tolerance`"):
        open_mask_dataset.read(tmp_path)
    dataset = open_mask_dataset.read(tmp_path, values=("0=floor", "200=ball"), tolerance=100)
    found = dataset.samples[0].target.read(("floor", "ball"))
    assert ((found == 1) != (values == 200)).mean() < 0.01


def test_colors_without_names_are_refused(tmp_path: Path) -> None:
    save_pair(tmp_path, "a", pattern(0, 1))
    save_mask(tmp_path / "masks" / "a.png", pattern(0, 1), "RGB", [(128, 64, 128), (0, 0, 142)])
    with pytest.raises(UserError, match=r"#804080.*classes\.csv"):
        open_mask_dataset.read(tmp_path)
    assert open_mask_dataset.read(tmp_path, values=("#804080=road", "#00008e=car")).class_names == ("road", "car")


def test_the_map_needs_masks_in_files(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.jpg")
    with pytest.raises(UserError, match="no masks in a known layout"):
        open_mask_dataset.read(tmp_path)
    with pytest.raises(UserError, match="`mask_values`"):
        open_mask_dataset.read("shapes", values=("0=a", "1=b"))
    save_pair(tmp_path, "a", pattern(0, 1))
    with pytest.raises(UserError, match=r"`mask_value_tolerance=3` needs `mask_values`"):
        open_mask_dataset.read(tmp_path, tolerance=3)


def test_coco_polygons_have_a_background(tmp_path: Path) -> None:
    save_image(tmp_path / "a.jpg")
    outline = [4, 4, 20, 4, 20, 12, 4, 12]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "zebra"}, {"id": 2, "name": "ant"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 16, 8], "segmentation": [outline]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [30, 4, 4, 4]},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    assert not open_mask_dataset.recognizes(tmp_path)  # for detection, unless it is asked for
    with pytest.raises(UserError, match="Objects without a mask"):
        open_mask_dataset.read(tmp_path)
    dataset = open_mask_dataset.read(tmp_path, on_inaccessible="skip")
    assert dataset.listed_classes == ("background", "zebra", "ant")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[4:12, 4:20], expected[4:8, 30:34] = 1, IGNORE
    assert np.array_equal(dataset.samples[0].target.read(dataset.listed_classes), expected)


def test_yolo_polygons(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    dataset = open_mask_dataset.read(tmp_path)
    assert dataset.class_names == ("background", "dog")
    found = dataset.samples[0].target.read(dataset.class_names)
    assert found.mean() == pytest.approx(0.25, abs=0.03)


def test_shapes_have_exact_masks_and_stay_classes_unless_asked(tmp_path: Path) -> None:
    folder = builtin.write("shapes", tmp_path / "shapes", count=30, size=48, objects=3)
    assert not open_mask_dataset.recognizes(folder)
    dataset = open_mask_dataset.read(folder)
    assert dataset.class_names == ("background", *CLASSES)
    assert dataset.splits == ("train", "val", "test")
    by_number = {int(Path(each.path).stem): each for each in dataset.samples}
    for index, sample in by_number.items():
        drawn = draw(index, Settings(size=48, count=30, objects=3))
        labels = np.array([0, *(dataset.class_names.index(name) for name in drawn.labels)], np.uint8)
        assert np.array_equal(sample.target.read(dataset.class_names), labels[drawn.mask])
        assert set(sample.labels or ()) == {"background", *drawn.labels}


def test_layouts_of_objects_and_classes_are_not_masks(tmp_path: Path) -> None:
    for path in ("shapes", "digits", "digit-scenes", tmp_path / "nothing"):
        assert not open_mask_dataset.recognizes(path)
    save_image(tmp_path / "cat" / "a.jpg")
    save_image(tmp_path / "dog" / "a.jpg")
    assert not open_mask_dataset.recognizes(tmp_path)
    assert open_dataset.read(tmp_path).class_names == ("cat", "dog")


def test_groups_stay_together_where_the_data_are_split_by_us(tmp_path: Path) -> None:
    rows = ["path,mask,group"]
    for number in range(20):
        save_pair(tmp_path, f"f{number}", pattern(0, 1, 2))
        rows.append(f"images/f{number}.jpg,masks/f{number}.png,video {number // 4}")
    (tmp_path / "masks.csv").write_text("\n".join(rows))
    dataset = make_split(open_mask_dataset.read(tmp_path / "masks.csv"), val_fraction=0.4)
    by_group: dict[str, set[str]] = {}
    for sample in dataset.samples:
        by_group.setdefault(str(sample.group), set()).add(str(sample.split))
    assert len(by_group) == 5
    assert all(len(splits) == 1 for splits in by_group.values())
    assert set(dataset.splits) == {"train", "val"}


def test_penn_fudan_is_person_and_background_when_asked(tmp_path: Path, shared: Callable[[str], Path]) -> None:
    with tarfile.open(shared("data/penn_fudan.tar")) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / "PennFudanPed"
    assert not open_mask_dataset.recognizes(folder)
    assert open_object_dataset.recognizes(folder)
    dataset, faults = open_mask_dataset.read_and_check(folder)
    assert len(dataset.samples) == 170
    assert dataset.class_names == ("background", "pedestrian")
    assert faults == []
