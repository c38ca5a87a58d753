"""What `predict` writes is what was predicted, in the formats that other programs read."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from resnets.data.object_datasets import open_object_dataset
from resnets.data.object_datasets.object_masks import encode
from resnets.tasks.detection import write_predictions
from resnets.tasks.detection.prediction import DetectedObject, Prediction

CLASSES = ("cat", "dog")
BOXES = ((3.25, 2.5, 20.125, 30.75), (10.0, 5.0, 40.0, 31.0))


@pytest.fixture
def predictions(tmp_path: Path) -> list[Prediction]:
    found = []
    for name, count in (("one/a.png", 2), ("two/a.png", 1), ("one/b.png", 0)):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 48, 3), 90, np.uint8)).save(path)
        objects = []
        for label, box in list(zip(CLASSES, BOXES, strict=True))[:count]:
            mask = np.zeros((32, 48), bool)
            mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
            objects.append(DetectedObject(label, 0.75, box, encode(mask).to_coco(32, 48)))
        found.append(Prediction(str(path), tuple(objects), (32, 48)))
    return found


def test_coco_json_is_read_again(predictions: list[Prediction], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    with write_predictions.coco_file(str(path), CLASSES) as write:
        list(map(write, predictions))
    content = json.loads(path.read_text())
    assert content["annotations"][0]["bbox"] == [3.25, 2.5, 16.875, 28.25]
    assert [each["score"] for each in content["annotations"]] == [0.75] * 3
    masks = [each.mask for prediction in predictions for each in prediction.objects]
    assert [each["area"] for each in content["annotations"]] == [mask.sum() for mask in masks if mask is not None]
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    samples = {sample.path: sample.target for sample in open_object_dataset.read(path).samples}
    for prediction in predictions:
        again = samples[prediction.path].objects
        assert [each.label for each in again] == [each.label for each in prediction.objects]
        for one, other in zip(again, prediction.objects, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=1e-6)


def test_pycocotools_takes_the_annotations_as_results(predictions: list[Prediction], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    with write_predictions.coco_file(str(path), CLASSES) as write:
        list(map(write, predictions))
    truth = COCO(path)  # everything that was found is annotated, so that the AP is 1
    results = truth.loadRes(json.loads(path.read_text())["annotations"])
    for kind in ("bbox", "segm"):
        evaluation = COCOeval(truth, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1)


def test_yolo_labels_give_the_boxes_again(predictions: list[Prediction], tmp_path: Path) -> None:
    with write_predictions.yolo_files(str(tmp_path / "labels"), CLASSES) as write:
        list(map(write, predictions))
    assert (tmp_path / "labels" / "classes.txt").read_text() == "cat\ndog\n"
    assert (tmp_path / "labels" / "b.txt").read_text() == ""
    rows = np.loadtxt(tmp_path / "labels" / "a.txt")
    center, size = rows[:, 1:3] * (48, 32), rows[:, 3:5] * (48, 32)
    np.testing.assert_allclose(np.concatenate([center - size / 2, center + size / 2], 1), BOXES, atol=1e-6)
    assert len((tmp_path / "labels" / "a-2.txt").read_text().splitlines()) == 1  # another image of that name


def test_images_are_drawn_cropped_and_masked(predictions: list[Prediction], tmp_path: Path) -> None:
    for name, kind in (
        ("drawn", write_predictions.drawn_images),
        ("crops", write_predictions.object_crops),
        ("masks", write_predictions.mask_images),
    ):
        with kind(str(tmp_path / name), CLASSES) as write:
            list(map(write, predictions))
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a-2.jpg", "a.jpg", "b.jpg"]
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "a.jpg")).astype(int)
    assert np.ptp(drawn, axis=2).max() > 60  # color on a gray image
    assert Image.open(tmp_path / "crops" / "cat" / "a-1.jpg").size == (18, 29)
    assert Image.open(tmp_path / "crops" / "dog" / "a-2.jpg").size == (30, 26)
    masks = np.asarray(Image.open(tmp_path / "masks" / "a.png"))
    assert (masks[20, 5], masks[20, 15], masks[20, 30], masks[0, 0]) == (1, 1, 2, 0)


def test_nothing_is_written_where_a_run_fails(predictions: list[Prediction], tmp_path: Path) -> None:
    path = tmp_path / "found.json"

    def write_and_fail() -> None:
        with write_predictions.coco_file(str(path), CLASSES) as write:
            write(predictions[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert not path.exists()
