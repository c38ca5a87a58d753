from dataclasses import replace

import faster_coco_eval.core.mask as coco_masks
import numpy as np
import torch

from resnets.tasks.detection import records
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.records import ImageRecord, Truth
from resnets.tasks.measurements import Measurements, concatenate

EMPTY = ImageRecord(
    Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), []),
    Truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0), []),
    (5, 7),
)
MASK = coco_masks.encode(np.eye(6, 4, dtype=np.uint8, order="F"))
ONE = ImageRecord(
    Detections(
        np.array([[0, 0, 2, 2], [1, 1, 3, 4]], np.float32),
        np.array([0.2, 0.9], np.float32),
        np.array([1, 0]),
        [MASK, MASK],
    ),
    Truth(np.array([[1.0, 1, 3, 4]]), np.array([0]), np.array([False]), np.array([6.0]), [MASK]),
    (6, 4),
)


def test_flat_arrays_have_the_objects_of_all_images_in_descending_order_of_the_score_of_each() -> None:
    batches = [Measurements(records.rows(images)) for images in ([EMPTY, ONE], [ONE])]

    found = records.of(concatenate(batches))

    assert len(found) == 3
    assert found.num_objects == 2
    assert found.found.scores.tolist() == np.float32([0.9, 0.2, 0.9, 0.2]).tolist()
    assert found.found.boxes[0].tolist() == [1, 1, 3, 4]
    assert found.found.labels.tolist() == [0, 1, 0, 1]
    assert found.found_image.tolist() == [1, 1, 2, 2]
    assert found.truth_image.tolist() == [1, 2]
    assert found.matches.object.tolist() == [0, -1, 1, -1]
    assert found.found.masks == [MASK] * 4
    assert found.truth.masks == [MASK] * 2
    assert found.found_in(0) == slice(0, 0)
    assert found.found_in(2) == slice(2, 4)
    assert found.truth_in(2) == slice(1, 2)


def test_a_selection_of_images_has_the_records_of_these_alone() -> None:
    both = Measurements(records.rows([ONE, EMPTY, ONE]))

    found = records.of(both.select(np.array([1, 2])))

    assert found.found_image.tolist() == [1, 1]
    assert found.matches.object.tolist() == [0, -1]
    assert found.sizes.tolist() == [[5, 7], [6, 4]]


def test_images_without_any_object_and_no_images_at_all() -> None:
    for images in ([], [EMPTY, EMPTY]):
        found = records.of(Measurements(records.rows(images)))

        assert len(found) == len(images)
        assert found.num_objects == 0
        assert found.found.boxes.shape == (0, 4)


def test_rows_survive_as_tensors() -> None:
    """A training state stores each row as a tensor."""
    rows = records.rows([ONE, EMPTY])

    stored = {
        name: row if isinstance(row, torch.Tensor) else [torch.as_tensor(each) for each in row]
        for name, row in rows.items()
    }

    assert records.of(Measurements(stored)).found.masks == [MASK] * 2


def test_there_are_no_masks_where_an_object_has_none() -> None:
    """Else the masks of later images would be those of other objects."""
    without = ONE._replace(truth=replace(ONE.truth, masks=None))
    for images in ([without, ONE], [EMPTY, ONE, without]):
        found = records.of(Measurements(records.rows(images)))
        assert (found.found.masks, found.truth.masks, found.mask_matches) == (None, None, None)
        assert found.matches.object.tolist() == [0, -1, 1, -1]
