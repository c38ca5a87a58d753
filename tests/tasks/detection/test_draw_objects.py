import faster_coco_eval.core.mask as coco_masks
import numpy as np
import pytest

from resnets.report.figures.class_color import class_color
from resnets.tasks.detection import draw_objects

NAMES = ["rose", "tulip"]


def test_the_frame_is_around_the_box_in_the_color_of_the_class() -> None:
    image = np.zeros((500, 700, 3), np.uint8)

    drawn = draw_objects.draw(image, np.array([[100, 200, 150, 260]]), np.array([1]), NAMES)

    assert drawn.shape == image.shape
    assert not image.any()  # unchanged
    assert tuple(drawn[230, 99]) == tuple(drawn[261, 120]) == class_color(1)
    assert not drawn[200:260, 100:150].any()


@pytest.mark.parametrize("side", [8, 100, 480, 3000])
def test_a_caption_has_at_least_13_pixels_and_does_not_cover_the_image(side: int) -> None:
    image = np.full((side, side, 3), 90, np.uint8)
    box = np.array([[0.4 * side, 0.4 * side, 0.42 * side, 0.42 * side]])

    drawn = draw_objects.draw(image, box, np.array([0]), NAMES, np.array([0.5]))

    assert drawn.shape[0] >= 480 or drawn.shape[0] == side
    assert drawn.shape[0] % side == 0
    changed = (drawn != 90).any(axis=2)
    rows = np.flatnonzero(changed.sum(axis=1) > 0.1 * drawn.shape[0])
    assert 13 <= len(rows) < 0.07 * drawn.shape[0]


def test_captions_never_overlap() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    boxes = np.tile([[300.0, 200, 380, 260]], (12, 1))

    once = draw_objects.draw(image, boxes[:1], np.zeros(1, int), NAMES)
    often = draw_objects.draw(image, boxes, np.zeros(12, int), NAMES)

    color = class_color(0)
    assert (once == color).all(axis=2).sum() < (often == color).all(axis=2).sum()
    assert (often == color).all(axis=2).sum() < 6 * (once == color).all(axis=2).sum()


def test_masks_are_blended_also_on_a_resized_image() -> None:
    image = np.full((600, 600, 3), 255, np.uint8)
    mask = np.zeros((300, 300), np.uint8, order="F")
    mask[100:200, 100:200] = 1

    drawn = draw_objects.draw(
        image, np.array([[200, 200, 400, 400]]), np.array([0]), NAMES, None, [coco_masks.encode(mask)]
    )

    assert (drawn[300, 300] < 255).any()
    assert (drawn[300, 450] == 255).all()


def test_no_objects_boxes_at_the_border_and_names_of_any_language() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    boxes = np.array([[0, 0, 30, 20], [29, 19, 30, 20], [5, 5, 5, 5]])

    assert draw_objects.draw(image, np.zeros((0, 4)), np.zeros(0, int), NAMES).shape == (320, 480, 3)
    assert draw_objects.draw(image, boxes, np.zeros(3, int), ["\u73ab\n\U0001f339"]).any()
