from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics import average_precision
from resnets.tasks.detection.records import ImageRecord, Records, Truth

NUM_CLASSES = 5
RecordsOf = Callable[[list[ImageRecord]], Records]


@pytest.mark.parametrize("masks", [False, True])
def test_each_class_and_threshold_equals_pycocotools(
    scenes: Records, mask_scenes: Records, masks: bool, pycocotools_numbers: Callable[..., Any]
) -> None:
    records = mask_scenes if masks else scenes
    limit = average_precision.max_detections(records)

    found = average_precision.average_precisions(records, NUM_CLASSES, masks=masks)

    precision = pycocotools_numbers(records, NUM_CLASSES, limit, masks)[1]
    expected = np.where((precision > -1).any(1), precision.mean(1), np.nan).T
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.isnan(found[-1]).all()  # of a class without objects


def test_only_the_first_100_of_a_class_in_an_image_count(records_of: RecordsOf) -> None:
    boxes = np.tile(np.array([[50, 50, 60, 60]], np.float32), (120, 1))
    boxes[110] = 10, 10, 20, 20
    found = Detections(boxes, np.linspace(1, 0.5, 120, dtype=np.float32), np.zeros(120, np.int64))
    truth = Truth(np.array([[10.0, 10, 20, 20]]), np.array([0]), np.array([False]), np.array([100.0]))
    records = records_of([ImageRecord(found, truth, (100, 100))])

    assert average_precision.validation_metrics(records, 1) == {"box_ap": 0, "box_ap50": 0}


def test_weights_count_an_image_as_often_as_it_is_repeated(
    records_of: RecordsOf, make_image_record: Callable[..., ImageRecord]
) -> None:
    rng = np.random.default_rng(3)
    images = [make_image_record(rng, 6, False) for _ in range(8)]
    for each in images:  # equal scores of two images would come in another order
        each.found.scores[:] = rng.random(len(each.found.scores))
    weights = np.array([[1, 0, 2, 1, 0, 3, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1]])

    found = average_precision.average_precisions(records_of(images), NUM_CLASSES, np.vstack([weights, np.ones(8)]))

    for row, values in zip(weights, found, strict=False):
        repeated = records_of([image for image, count in zip(images, row, strict=True) for _ in range(count)])
        expected = average_precision.average_precisions(repeated, NUM_CLASSES)
        # Copies come one after the other there, with a precision in between.
        np.testing.assert_allclose(values, expected, atol=0.05)
    once = average_precision.average_precisions(records_of(images), NUM_CLASSES)
    np.testing.assert_array_equal(found[2], once)


def test_validation_metrics_have_those_of_the_masks(
    mask_scenes: Records, pycocotools_numbers: Callable[..., Any]
) -> None:
    values = average_precision.validation_metrics(mask_scenes, NUM_CLASSES)

    assert list(values) == ["box_ap", "box_ap50", "mask_ap", "mask_ap50"]
    expected = pycocotools_numbers(mask_scenes, NUM_CLASSES, 100, True)[0]
    assert values["mask_ap"] == pytest.approx(expected["ap"], abs=1e-9)
