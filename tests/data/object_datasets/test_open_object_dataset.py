from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.datasets import builtin, generate_shapes
from resnets.data.object_datasets import open_object_dataset
from resnets.errors import UserError


def test_shapes_have_the_boxes_and_masks_that_were_drawn(tmp_path: Path) -> None:
    root = builtin.write("shapes", tmp_path / "shapes", size=48, count=30, objects=4)
    dataset = open_object_dataset.read(root)
    settings = generate_shapes.make_settings(size=48, count=30, objects=4)
    assert len(dataset.samples) == 30
    assert dataset.splits == ("train", "val", "test")
    for sample in dataset.samples:
        drawn = generate_shapes.draw(int(Path(sample.path).stem), settings)
        assert sample.labels == drawn.labels
        assert sample.target.size == (48, 48)
        for number, each in enumerate(sample.target.objects):
            x, y, width, height = drawn.boxes[number]
            assert each.box == (x, y, x + width, y + height)
            np.testing.assert_array_equal(each.mask.decode(48, 48), drawn.mask == number + 1)
            assert each.mask.box() == each.box


def test_digit_scenes_are_read_by_their_folder(tmp_path: Path) -> None:
    root = builtin.write("digit-scenes", tmp_path / "scenes", count=50)
    dataset = open_object_dataset.read(root)
    assert len(dataset.samples) == 50
    assert dataset.class_names == tuple("0123456789")
    assert dataset.splits == ("train", "val", "test")
    sample = dataset.samples[0]
    pixels = np.asarray(Image.open(sample.path))
    x1, y1, x2, y2 = map(int, sample.target.objects[0].box)
    assert pixels[y1:y2, x1:x2].max() > pixels.min() + 64
    assert dataset.unused.files == []


def test_what_has_classes_of_images_too_is_not_recognized_for_detection(tmp_path: Path) -> None:
    assert not open_object_dataset.recognizes(builtin.write("shapes", tmp_path / "shapes", count=30))
    scenes = builtin.write("digit-scenes", tmp_path / "scenes", count=50)
    assert not open_object_dataset.recognizes(scenes)
    for file in scenes.glob("*/_classes.csv"):
        file.unlink()
    assert open_object_dataset.recognizes(scenes)


@pytest.mark.parametrize("name", ["shapes", "digit-scenes"])
def test_built_in_data_are_read_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "data" / f"{name}-{builtin.VERSION}"
    builtin.write(name, folder, count=50)
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert len(open_object_dataset.read(name).samples) == 50


def test_data_without_boxes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_object_dataset.read(tmp_path / "absent")
    with pytest.raises(UserError, match="no boxes in a known format"):
        open_object_dataset.read(tmp_path)
