"""Views of an image: what each shows, and where."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.tasks.detection.test_time_augmentation.image_views import Views

PREPROCESS = Preprocess(size=(64, 64), resize="fit", resize_to=None)


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose red and green are the position of each pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], 2).astype(np.uint8)


@pytest.mark.parametrize("kind", ["array", "pillow"])
@pytest.mark.parametrize(
    "views",
    [
        Views(),
        Views(scales=(48, 96)),
        Views(flip=True),
        Views(tile=64, tile_overlap=0.25),
        Views(scales=(96, 64), flip=True, tile=100),
    ],
)
def test_the_placement_of_a_view_leads_back_to_the_image(views: Views, kind: str) -> None:
    """Red and green of an input, which are positions in the image, are those that its placement gives."""
    size = (150, 201)
    image: Any = coordinates(*size) if kind == "array" else Image.fromarray(coordinates(*size))
    found = list(views.of_image(image, size, PREPROCESS))
    assert len(found) == views.of_region * len(views.regions(size))
    for view in found:
        red, green = (view.pixels * torch.tensor(PREPROCESS.std).view(3, 1, 1)
                      + torch.tensor(PREPROCESS.mean).view(3, 1, 1))[:2] * 255  # fmt: skip
        height, width = view.pixels.shape[1:]
        assert (height, width) == view.placement.size
        row, column = height // 2, width // 3
        x = width - column - 0.5 if view.mirrored else column + 0.5
        position = view.placement.to_original(torch.tensor([[x, row + 0.5]], dtype=torch.float64))[0]
        assert [float(red[row, column]) + 0.5, float(green[row, column]) + 0.5] == pytest.approx(
            position.tolist(), abs=1.1
        )
        left, top, right, bottom = view.region
        assert left <= position[0] <= right
        assert top <= position[1] <= bottom


def test_scales_are_longer_sides() -> None:
    views = Views(scales=(32, 96), flip=True).of_image(coordinates(50, 100), (50, 100), PREPROCESS)
    assert [tuple(view.pixels.shape[1:]) for view in views] == [(16, 32)] * 2 + [(48, 96)] * 2


@pytest.mark.parametrize(
    ("size", "tile", "overlap"), [((1000, 700), 256, 0.2), ((300, 900), 300, 0.0), ((64, 2000), 640, 0.5)]
)
def test_tiles_cover_the_image_and_overlap(size: tuple[int, int], tile: int, overlap: float) -> None:
    whole, *tiles = Views(tile=tile, tile_overlap=overlap).regions(size)
    assert whole == (0, 0, *size[::-1])
    covered = np.zeros(size, int)
    for left, top, right, bottom in tiles:
        assert right - left == min(tile, size[1])
        assert bottom - top == min(tile, size[0])
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1
    for axis in (0, 1):
        starts = sorted({region[axis] for region in tiles})
        shared = [tile - (after - before) for before, after in itertools.pairwise(starts)]
        assert all(overlap * tile - 1 <= each <= tile for each in shared)


def test_an_image_of_the_size_of_a_tile_is_one_view() -> None:
    assert Views(tile=100).regions((100, 90)) == [(0, 0, 90, 100)]


@pytest.mark.parametrize(
    ("options", "shows"),
    [
        ({"scales": [480, 16]}, "at least 32; received 16"),
        ({"tile": 8}, "at least 32; received 8"),
        ({"tile": 64, "tile_overlap": 0.95}, "from 0 to 0.9; received 0.95"),
        ({"tile_overlap": 0.3}, "`tile_overlap=0.3` has no effect without `tile`"),
        ({"nms": "greedy"}, "`nms` is one of hard"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], shows: str) -> None:
    with pytest.raises(UserError, match=shows):
        Views.from_options(options)


def test_options_of_others_are_given_back() -> None:
    views, others = Views.from_options({"scales": [64, 96], "flip": True, "tile": None, "score": 0.5})
    assert views == Views(scales=(64, 96), flip=True)
    assert others == {"score": 0.5}
    assert str(views) == "the whole image, at longer sides of 64, 96, each also mirrored"
    assert str(Views(tile=640)) == "tiles of 640 pixels that overlap by 20 %, and the whole image"
