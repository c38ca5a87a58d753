"""Objects in pixels of the original image."""

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_masks
from torchvision.models.detection.roi_heads import paste_masks_in_image

from resnets.data.image.preprocess import Preprocess
from resnets.tasks.detection.detections import Detections, encode_mask, select, suppress_across_classes, to_detections


def test_boxes_and_masks_are_those_of_the_original_image() -> None:
    """The masks are those that torchvision pastes."""
    generator = torch.Generator().manual_seed(0)
    placement = Preprocess(size=(64, 64), resize="fit").placement(150, 201)
    corners = torch.rand(5, 2, generator=generator) * torch.tensor([40.0, 30.0])
    boxes = torch.cat([corners, corners + 4 + 18 * torch.rand(5, 2, generator=generator)], dim=1)
    masks = torch.nn.functional.interpolate(torch.rand(5, 1, 4, 4, generator=generator), size=28, mode="bilinear")[:, 0]
    objects = {"boxes": boxes, "scores": torch.linspace(0.9, 0.1, 5), "labels": torch.arange(5), "masks": masks}
    found = to_detections(objects, placement)
    np.testing.assert_allclose(found.boxes, boxes / torch.tensor([*placement.scale[::-1]] * 2), atol=1e-4)
    assert found.masks is not None
    expected = paste_masks_in_image(masks[:, None], torch.from_numpy(found.boxes), (150, 201))[:, 0] >= 0.5
    for mask, wanted in zip(found.masks, expected, strict=True):
        assert np.array_equal(coco_masks.decode(mask).astype(bool), wanted.numpy())


@pytest.mark.parametrize(
    "box",
    [
        (3.2, 4.1, 17.9, 20.0),
        (0.0, 0.0, 30.0, 24.0),
        (25.0, 0.0, 30.0, 24.0),
        (0.0, 0.0, 0.4, 0.3),
        (30.0, 24.0, 30.0, 24.0),
    ],
)
@pytest.mark.parametrize("value", [0.0, 0.5, None])
def test_the_runs_of_a_mask_are_those_of_the_whole_image(box: tuple[float, ...], value: float | None) -> None:
    """Also at the borders, and of masks that are empty or full."""
    mask = (
        torch.rand(28, 28, generator=torch.Generator().manual_seed(1)) if value is None else torch.full((28, 28), value)
    )
    pasted = paste_masks_in_image(mask[None, None], torch.tensor([box]), (24, 30))[0, 0] >= 0.5
    expected = coco_masks.encode(np.asfortranarray(pasted.numpy().astype(np.uint8)))
    assert encode_mask(mask, torch.tensor(box), (24, 30)) == expected


def test_a_box_ends_at_the_border() -> None:
    placement = Preprocess(size=(64, 64), resize="fit").placement(32, 64)
    objects = {
        "boxes": torch.tensor([[-3.0, -2.0, 70.0, 40.0]]),
        "scores": torch.ones(1),
        "labels": torch.zeros(1).long(),
    }
    assert to_detections(objects, placement).boxes.tolist() == [[0, 0, 64, 32]]


def test_what_lies_beside_the_image_is_left_out() -> None:
    placement = Preprocess(size=(64, 64), resize="pad", resize_to=None).placement(32, 64)  # rows 16 to 48
    objects = {
        "boxes": torch.tensor([[0.0, 0, 64, 16], [8, 10, 20, 26], [8, 50, 20, 60]]),
        "scores": torch.tensor([0.9, 0.8, 0.7]),
        "labels": torch.arange(3),
        "masks": torch.ones(3, 28, 28),
    }
    found = to_detections(objects, placement)
    assert (found.boxes.tolist(), found.labels.tolist()) == ([[8, 0, 20, 10]], [1])
    assert found.masks is not None
    assert len(found.masks) == 1


def test_of_two_classes_at_one_place_the_more_certain_one_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 20, 30, 30]], np.float32)
    found = Detections(boxes, np.array([0.6, 0.9, 0.5], np.float32), np.array([0, 1, 0]))
    kept = suppress_across_classes(found, 0.5)
    assert kept.labels.tolist() == [1, 0]
    assert np.allclose(kept.scores, [0.9, 0.5])
    assert select(found, np.array([False, True, False])).labels.tolist() == [1]
