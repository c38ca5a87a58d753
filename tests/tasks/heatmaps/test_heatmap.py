"""Where a heat map lies on its image, and what is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.tasks.heatmaps import heatmap
from resnets.tasks.heatmaps.compute_heatmaps import _box
from resnets.tasks.heatmaps.heatmap import Heatmap

PREPROCESSES = {
    "shorter": Preprocess(size=(40, 40), resize="shorter", resize_to=44),
    "stretch": Preprocess(size=(60, 48), resize="stretch"),
    "pad": Preprocess(size=(60, 48), resize="pad"),
    "fit": Preprocess(size=(60, 60), resize="fit"),
    "none": Preprocess(size=(40, 40), resize="none"),
}
SIZES = [(101, 67), (53, 118), (30, 31)]  # height, width


def map_of(values: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int], image=None) -> Heatmap:
    pixels = np.zeros((*size, 3), np.uint8) if image is None else image
    return Heatmap("daisy", values.astype(np.float32), 2.0, 0.5, True, box, size, pixels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PREPROCESSES)
def test_every_pixel_has_the_value_that_lies_on_it_in_the_input(name: str, size: tuple[int, int]) -> None:
    """torch enlarges the map to the input, and the placement of boxes finds the position of each pixel there."""
    placement = PREPROCESSES[name].placement(*size)
    values = np.random.default_rng(0).normal(size=(5, 4))
    found = map_of(values, _box(placement), size).on_image()
    assert found.shape == size
    fine = 40  # positions for each pixel of the input
    shape = [fine * side for side in placement.size]
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], shape, mode="bilinear")[
        0, 0
    ].numpy()
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    positions = placement.to_input(torch.from_numpy(np.stack([x, y], -1))).numpy()
    seen = ((positions >= 0) & (positions <= placement.size[::-1])).all(-1)
    np.testing.assert_array_equal(np.isnan(found), ~seen)
    assert seen.any()
    assert seen.all() == (name in ("stretch", "pad", "fit") or (name == "none" and max(size) < 40))
    columns, rows = np.clip((positions * fine).astype(int), 0, np.array(shape[::-1]) - 1).transpose(2, 0, 1)
    np.testing.assert_allclose(found[seen], enlarged[rows, columns][seen], atol=0.03)


def test_a_map_at_another_size_is_that_of_the_scaled_image() -> None:
    values = np.arange(6.0).reshape(2, 3)
    whole = map_of(values, (0, 0, 60, 40), (40, 60))
    np.testing.assert_allclose(whole.on_image((2, 3)), values, atol=1e-6)
    half = map_of(values, (30, 0, 60, 40), (40, 60)).on_image()
    assert np.isnan(half[:, :30]).all()
    assert not np.isnan(half[:, 30:]).any()


def test_colors_say_the_sign_and_the_legend_is_drawn(tmp_path: Path) -> None:
    gray = np.full((40, 60, 3), 128, np.uint8)
    found = map_of(np.array([[2.0, 0.0, -2.0]]), (0, 0, 30, 40), (40, 60), gray)
    drawn = found.over_image(limit=2.0, side=60).astype(int)
    assert drawn.shape == (40, 60, 3)
    assert drawn[20, 2, 0] > 170 > 100 > drawn[20, 2, 2]  # red raises
    assert drawn[20, 27, 2] > 170 > 100 > drawn[20, 27, 0]  # blue lowers
    assert np.ptp(drawn[20, 14]) < 25  # near 0 the image is seen
    assert (drawn[:, 30:] == drawn[0, 40]).all()
    assert drawn[0, 40].min() > 200
    np.testing.assert_array_equal(drawn, found.over_image(limit=2.0, side=60))
    out = found.save(tmp_path / "one.png")
    with Image.open(out) as image:
        pixels = np.asarray(image)
    assert pixels.shape[1] > 2 * 480
    assert (pixels[:24] == 255).all()
    two = replace(found, class_name="rose", values=np.ones((1, 3), np.float32))
    heatmap.draw([found, two], tmp_path / "two.jpg")
    with Image.open(tmp_path / "two.jpg") as image:
        assert image.width > 3 * 480


def test_maps_of_one_image_share_their_color_scale() -> None:
    zero = map_of(np.zeros((2, 2)), (0, 0, 4, 4), (4, 4))
    assert heatmap.largest_value([zero]) == heatmap.largest_value([]) == 1.0
    assert heatmap.largest_value([zero, map_of(np.array([[1, -3]]), (0, 0, 4, 4), (4, 4))]) == 3.0
