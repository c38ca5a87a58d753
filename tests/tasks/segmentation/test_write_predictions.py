"""Files of predictions: values, palettes, sizes and orientation."""

import contextlib
import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.image.decode_mask import decode_mask
from resnets.errors import JobError, UserError
from resnets.tasks.segmentation import write_predictions
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.prediction import Prediction
from resnets.tasks.trained_model import TrainedModel

NAMES = ("road", "car", "sky")
CONFIG = SegmentationConfig(output_values=(7, 26, 23), output_colors=(128, 64, 128, 0, 0, 142, 70, 130, 180))
MASK = np.array([[0, 0, 1, 1], [2, 2, 2, 2], [0, 1, 2, 0]], np.uint8)


def write(kind: str, target: Path, prediction: Prediction, config: SegmentationConfig = CONFIG) -> None:
    with write_predictions.writers(config, NAMES)[kind](str(target)) as sink:
        sink(prediction)


def test_masks_have_the_values_and_the_colors_of_the_data(tmp_path: Path) -> None:
    """As indices of a palette, which a reader of masks takes for the values, and a viewer shows in color."""
    write("masks", tmp_path, Prediction("photos/a.jpg", NAMES, MASK))
    file = Image.open(tmp_path / "a.png")
    assert file.mode == "P"
    np.testing.assert_array_equal(np.asarray(file), np.array([7, 26, 23])[MASK])
    np.testing.assert_array_equal(np.asarray(file.convert("RGB"))[0, 2], (0, 0, 142))
    np.testing.assert_array_equal(decode_mask(str(tmp_path / "a.png"), as_colors=False), np.array([7, 26, 23])[MASK])
    rows = list(csv.DictReader((tmp_path / "classes.csv").open()))
    assert rows[1] == {"class": "car", "value": "26", "red": "0", "green": "0", "blue": "142"}


def test_label_ids_are_gray(tmp_path: Path) -> None:
    write("label_ids", tmp_path, Prediction("a.jpg", NAMES, MASK))
    file = Image.open(tmp_path / "a.png")
    assert file.mode == "L"
    np.testing.assert_array_equal(np.asarray(file), np.array([7, 26, 23])[MASK])
    large = SegmentationConfig(output_values=(0, 300, 65_534))
    write("label_ids", tmp_path / "large", Prediction("a.jpg", NAMES, MASK), large)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "large" / "a.png")), np.array([0, 300, 65_534])[MASK]
    )
    write("masks", tmp_path / "indices", Prediction("a.jpg", NAMES, MASK), large)  # a palette has 256 entries
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "indices" / "a.png")), MASK)
    with pytest.raises(UserError, match="those that the model was trained on have colors"):
        write("label_ids", tmp_path, Prediction("a.jpg", NAMES, MASK), SegmentationConfig())


@pytest.mark.parametrize("kind", ["masks", "label_ids"])
def test_masks_of_the_data_are_not_overwritten(kind: str, tmp_path: Path) -> None:
    prediction = Prediction("cells/images/a.jpg", NAMES, MASK)
    for _ in range(2):  # predictions replace those of an earlier command
        write(kind, tmp_path / "predicted", prediction)
    for name in ("z.png", "z.tif", "classes.csv"):  # one of the data among predictions
        masks = tmp_path / name.replace(".", "_")
        shutil.copytree(tmp_path / "predicted", masks)
        if name == "classes.csv":
            (masks / name).write_text("value,name\n0,road\n")
        else:
            Image.fromarray(MASK).save(masks / name)
        before = {file.name: file.read_bytes() for file in masks.iterdir()}
        with pytest.raises(UserError, match=f"`{kind}=.*` has files that are not predictions, such as '{name}'"):
            write(kind, masks, prediction)
        assert {file.name: file.read_bytes() for file in masks.iterdir()} == before


def test_masks_of_huge_images_are_tiled_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_predictions, "MAX_PIXELS", 10)
    for _ in range(2):
        write("masks", tmp_path, Prediction("a.tif", NAMES, MASK))
    file = Image.open(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(file), np.array([7, 26, 23])[MASK])
    np.testing.assert_array_equal(np.asarray(file.convert("RGB"))[0, 2], (0, 0, 142))


def test_areas_are_a_row_for_each_class(tmp_path: Path) -> None:
    prediction = Prediction("a.jpg", NAMES, MASK)
    write("areas", tmp_path / "areas.csv", prediction)
    rows = list(csv.DictReader((tmp_path / "areas.csv").open()))
    assert [(row["class"], row["pixels"], row["area"]) for row in rows] == [
        ("road", "4", "0.333333"), ("car", "3", "0.250000"), ("sky", "5", "0.416667"),
    ]  # fmt: skip
    assert list(prediction.areas) == ["sky", "road", "car"]
    assert str(prediction) == "a.jpg  sky 41.7 %, road 33.3 %, car 25.0 %"
    assert prediction.to_dict()["size"] == [3, 4]


def test_probabilities_sum_to_1_and_have_the_class_of_the_mask(model: TrainedModel, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(256, size=(45, 61, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    (prediction,) = model.predict(str(tmp_path / "a.png"))
    write("probabilities", tmp_path / "out", prediction)
    with np.load(tmp_path / "out" / "a.npz") as file:
        found, classes = file["probabilities"], file["classes"]
    assert (found.dtype, found.shape, classes.tolist()) == (np.float16, (3, 45, 61), [*NAMES])
    np.testing.assert_allclose(found.astype(float).sum(0), 1, atol=2e-3)
    best = found.max(0)
    assert (np.take_along_axis(found, prediction.mask[None].astype(int), 0)[0] == best).all()
    large, writers = Prediction("large.png", NAMES, MASK), write_predictions.writers(CONFIG, NAMES)
    for kind in ("probabilities", "draw"):  # all others are written before the error
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(writers[kind](str(tmp_path / kind)))
            sink(large)
            sink(prediction)
            with pytest.raises(JobError, match=r"1 image left out, .*: 'large.png'"):
                stack.close()
        assert len(list((tmp_path / kind).iterdir())) == 1


def test_files_have_the_size_and_orientation_in_which_the_image_is_shown(model: TrainedModel, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(40, 72, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(np.rot90(pixels, -1)).save(tmp_path / "upright.png")
    turned, upright = model.predict([str(tmp_path / name) for name in ("turned.png", "upright.png")])
    assert turned.size == (72, 40)
    np.testing.assert_array_equal(turned.mask, upright.mask)
    for kind in ("masks", "draw"):
        write(kind, tmp_path / kind, turned)
    assert Image.open(tmp_path / "masks" / "turned.png").size == (40, 72)
    assert Image.open(tmp_path / "draw" / "turned.jpg").size == (40, 72)
