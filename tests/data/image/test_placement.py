"""Positions in an image and in the input made of it, beside the pixels of both."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess

PREPROCESSES = {
    "fit": Preprocess(size=(60, 60), resize="fit"),
    "fit, shorter side": Preprocess(size=(80, 80), resize="fit", resize_to=30),
    "pad": Preprocess(size=(60, 48), resize="pad"),
    "stretch": Preprocess(size=(60, 48), resize="stretch"),
    "shorter": Preprocess(size=(40, 40), resize="shorter", resize_to=44),
    "shorter, whole": Preprocess(size=(40, 40), resize="shorter", resize_to=44, crop="none"),
    "none": Preprocess(size=(40, 40), resize="none"),
    "none, whole": Preprocess(size=(40, 40), resize="none", crop="none"),
}
SIZES = [(100, 100), (120, 90), (77, 131), (30, 160)]  # height, width


def image_with_rectangle(height: int, width: int) -> tuple[Image.Image, torch.Tensor]:
    """A black image with a white rectangle in its middle, and the box of that."""
    box = torch.tensor([round(width * 0.4), round(height * 0.3), round(width * 0.6), round(height * 0.65)])
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels), box.double()


def box_of_light(values: torch.Tensor) -> torch.Tensor:
    """The edges of a white rectangle on black, to a fraction of a pixel, from the light in rows and columns."""
    light = values.double()
    edges = []
    for axis in (0, 1):
        line = light.amax(axis)  # 0..1 along the other axis
        middle = int(line.nonzero().double().mean())
        edges.append((middle - line[:middle].sum(), middle + line[middle:].sum()))
    return torch.tensor([edges[0][0], edges[1][0], edges[0][1], edges[1][1]])


@pytest.mark.parametrize("name", PREPROCESSES)
@pytest.mark.parametrize("size", SIZES)
def test_a_box_is_where_its_pixels_are(name: str, size: tuple[int, int]) -> None:
    preprocess = PREPROCESSES[name]
    image, box = image_with_rectangle(*size)
    placement = preprocess.placement(*size)
    values = preprocess(image)[0]
    assert tuple(values.shape) == placement.size
    values = values - values.amin()
    if placement.original != placement.size:  # the background of "pad" is white
        top, left = (max(round(each), 0) for each in placement.offset)
        inner = values[
            top : top + round(size[0] * placement.scale[0]), left : left + round(size[1] * placement.scale[1])
        ]
        full = torch.zeros_like(values)
        full[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        values = full
    expected = placement.to_input(box)
    limits = torch.tensor([*placement.size[::-1]] * 2)
    torch.testing.assert_close(
        box_of_light(values / values.amax()), expected.clamp(min=0).minimum(limits), atol=0.35, rtol=0
    )
    inside = (expected >= 0).all() and (expected <= limits).all()
    if inside:
        torch.testing.assert_close(placement.to_original(expected), box)


def test_fit_takes_the_smaller_of_its_two_scales() -> None:
    preprocess = Preprocess(size=(1333, 1333), resize="fit", resize_to=800)
    assert preprocess.placement(480, 640).size == (800, 1067)  # the shorter side decides
    assert preprocess.placement(400, 1200).size == (444, 1333)  # the longer side decides


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_photo_is_placed_by_the_size_that_is_shown(orientation: int) -> None:
    """The file is decoded at a smaller scale; its size is that of the upright image."""
    upright, box = image_with_rectangle(900, 1301)
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    exif = Image.Exif()
    exif[0x0112] = undo.get(orientation, 1)
    stored = upright
    if orientation > 1:
        stored = ImageOps.exif_transpose(_with_exif(upright, exif))
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "JPEG", quality=95, exif=exif)
    values, placement = Preprocess(size=(64, 64), resize="fit").load_placed(file.getvalue())
    assert placement.original == (900, 1301)
    assert tuple(values.shape[1:]) == placement.size == (44, 64)
    values = (values[0] - values[0].amin()) / (values[0].amax() - values[0].amin())
    values = torch.where(values > 0.05, values, 0.0)
    torch.testing.assert_close(box_of_light(values), placement.to_input(box), atol=0.5, rtol=0)


def _with_exif(image: Image.Image, exif: Image.Exif) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return Image.open(file)


def test_masks_move_as_boxes_do() -> None:
    masks = torch.zeros(2, 20, 40, dtype=torch.uint8)
    masks[0, 4:10, 8:20], masks[1] = 1, 7
    placement = Placement((20, 40), (32, 32), (1.6, 0.8), (0.0, 0.0))
    moved = placement.mask_to_input(masks)
    rows, columns = moved[0].nonzero(as_tuple=True)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (6, 16, 6, 16)
    padded = Placement((20, 40), (40, 40), (1.0, 1.0), (10.0, 0.0)).mask_to_input(masks, outside=255)
    assert (padded[:, :10] == 255).all()
    assert (padded[:, 30:] == 255).all()
    assert torch.equal(padded[:, 10:30], masks)
