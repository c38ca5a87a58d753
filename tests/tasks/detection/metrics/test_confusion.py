from collections.abc import Callable

import numpy as np
import pytest

from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.metrics import confusion
from resnets.tasks.detection.metrics.confusion import apply_threshold
from resnets.tasks.detection.records import ImageRecord, Records, Truth

NUM_CLASSES = 5


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 1.1])
def test_the_confusion_matrix_adds_up_to_the_objects_and_to_what_is_reported(scenes: Records, threshold: float) -> None:
    reported = apply_threshold(scenes, threshold)

    matrix = confusion.confusion_matrix(scenes, reported, NUM_CLASSES)

    objects = np.bincount(scenes.truth.labels[~scenes.truth.crowd], minlength=NUM_CLASSES)
    found = np.bincount(scenes.found.labels[reported.hits | reported.wrong], minlength=NUM_CLASSES)
    assert matrix[:-1].sum(axis=1).tolist() == objects.tolist()
    assert matrix[:, :-1].sum(axis=0).tolist() == found.tolist()
    assert matrix.diagonal().sum() == reported.hits.sum()
    assert matrix[-1, -1] == 0


def test_a_wrong_class_is_confused_only_if_the_place_is_right(
    records_of: Callable[[list[ImageRecord]], Records],
) -> None:
    boxes = np.array([[10, 10, 50, 50], [100, 100, 140, 140], [60, 0, 70, 9]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.1], np.float32), np.array([1, 1, 0]))
    truth = Truth(np.array([[10.0, 10, 50, 45], [60, 0, 70, 9]]), np.array([0, 0]), np.zeros(2, bool), np.ones(2))
    records = records_of([ImageRecord(found, truth, (200, 200))])

    reported = apply_threshold(records, 0.5)

    assert confusion.confusion_matrix(records, reported, 2).tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]
    assert confusion.image_counts(records, reported).tolist() == [[0, 2, 2]]
    assert confusion.image_scores(records, 0.05).tolist() == [pytest.approx(2 * 1 / (3 + 2))]


def test_images_may_have_their_own_thresholds(scenes: Records) -> None:
    thresholds = np.where(np.arange(len(scenes)) % 2, 0.3, 0.7)

    counts = confusion.image_counts(scenes, apply_threshold(scenes, thresholds))

    for threshold in (0.3, 0.7):
        expected = confusion.image_counts(scenes, apply_threshold(scenes, threshold))
        np.testing.assert_array_equal(counts[thresholds == threshold], expected[thresholds == threshold])


def test_an_image_without_objects_in_which_none_is_reported_is_right(scenes: Records) -> None:
    assert confusion.image_scores(scenes, 1.1)[1] == 1


def test_recall_by_size_has_all_objects(scenes: Records) -> None:
    counts = confusion.recall_by_size(scenes, apply_threshold(scenes, 0.5))

    assert sum(total for total, _ in counts) == scenes.num_objects
    sides = np.sqrt(scenes.truth.area[~scenes.truth.crowd])
    assert counts[2][0] == ((sides >= 16) & (sides < 32)).sum()
