from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics.coco_metrics import coco_metrics
from resnets.tasks.detection.records import ImageRecord, Records, Truth

NUM_CLASSES = 5


def _values(numbers: dict[str, Any], kind: str) -> list[float]:
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    names += ("ar1", "ar10", "ar_max", "ar_small", "ar_medium", "ar_large")
    return [-1 if (value := numbers[f"{kind}_{name}"]) is None else value for name in names]


def test_equal_pycocotools_and_hotcoco_for_boxes(
    scenes: Records, tmp_path: Path, pycocotools_numbers: Callable[..., Any], hotcoco_evaluation: Callable[..., Any]
) -> None:
    numbers = coco_metrics(scenes, NUM_CLASSES)

    assert numbers["max_detections"] == 300
    expected = pycocotools_numbers(scenes, NUM_CLASSES, 300)[0]
    assert _values(numbers, "box") == pytest.approx(list(expected.values()), abs=1e-9)
    stats = hotcoco_evaluation(scenes, NUM_CLASSES, 300, tmp_path).stats
    assert _values(numbers, "box") == pytest.approx(list(stats), abs=1e-9)


def test_equal_pycocotools_and_hotcoco_for_masks(
    mask_scenes: Records,
    tmp_path: Path,
    pycocotools_numbers: Callable[..., Any],
    hotcoco_evaluation: Callable[..., Any],
) -> None:
    numbers = coco_metrics(mask_scenes, NUM_CLASSES)

    expected = pycocotools_numbers(mask_scenes, NUM_CLASSES, 100, masks=True)[0]
    assert _values(numbers, "mask") == pytest.approx(list(expected.values()), abs=1e-9)
    stats = hotcoco_evaluation(mask_scenes, NUM_CLASSES, 100, tmp_path, masks=True).stats
    assert _values(numbers, "mask") == pytest.approx(list(stats), abs=1e-9)
    assert len(numbers) == 25


def test_what_does_not_exist_is_none(make_records: Callable[..., Records]) -> None:
    numbers = coco_metrics(make_records(1, most=0), NUM_CLASSES)

    assert set(_values(numbers, "box")) == {-1}
    assert numbers["max_detections"] == 100


def test_perfect_detections_of_250_objects_have_an_ap_of_1(
    records_of: Callable[[list[ImageRecord]], Records],
) -> None:
    places = np.stack(np.meshgrid(np.arange(25), np.arange(10)), axis=-1).reshape(-1, 2) * 20.0
    boxes, labels = np.hstack([places, places + 15]), np.zeros(250, np.int64)
    found = Detections(boxes.astype(np.float32), np.linspace(1, 0.5, 250, dtype=np.float32), labels)
    truth = Truth(boxes, labels, np.zeros(250, bool), np.full(250, 225.0))

    numbers = coco_metrics(records_of([ImageRecord(found, truth, (200, 500))]), 1)

    assert numbers["box_ap"] == pytest.approx(1)
    assert numbers["box_ar_max"] == 1
    assert numbers["box_ap_medium"] is None
