from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from resnets.data.image.decode import decode
from resnets.data.object_datasets.object_masks import Polygons, encode
from resnets.data.object_datasets.objects import Object
from resnets.data.object_datasets.turn_and_scale import TURNED, scale, turn


def upright(mask: np.ndarray, orientation: int) -> np.ndarray:
    """The mask as an image with this orientation is decoded."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG", exif=exif)
    return decode(file.getvalue())[..., 0] > 0


@pytest.mark.parametrize("orientation", TURNED)
def test_boxes_and_masks_turn_with_their_image(orientation: int) -> None:
    mask = np.zeros((7, 12), dtype=bool)
    mask[1:3, 2:9] = True
    mask[3, 2] = True
    expected = upright(mask, orientation)
    rows, columns = np.flatnonzero(expected.any(axis=1)), np.flatnonzero(expected.any(axis=0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    polygon = Polygons(((2.0, 1.0, 9.0, 1.0, 9.0, 3.0, 3.0, 3.0, 3.0, 4.0, 2.0, 4.0),))
    for each in (encode(mask), polygon):
        moved = turn(Object("a", (2, 1, 9, 4), each), orientation, (7, 12))
        assert moved.box == box
        assert moved.mask is not None
        np.testing.assert_array_equal(moved.mask.decode(12, 7), expected)


def test_boxes_masks_and_area_are_scaled_with_their_image() -> None:
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:4, 2:7] = True
    for each in (encode(mask), Polygons(((2.0, 1.0, 7.0, 1.0, 7.0, 4.0, 2.0, 4.0),))):
        moved = scale(Object("a", (2, 1, 7, 4), each, area=15.0), (6, 8), (12, 16))
        assert moved.box == (4, 2, 14, 8)
        assert moved.area == 60
        assert moved.mask is not None
        np.testing.assert_array_equal(moved.mask.decode(12, 16), mask.repeat(2, axis=0).repeat(2, axis=1))
