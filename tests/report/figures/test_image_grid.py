"""Grids of images."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from resnets.report.figures import canvas, image_grid
from resnets.report.figures.image_grid import TILE, Caption, Tile

MARGIN, GAP = 30, 20
GREEN = np.full((8, 8, 3), [0, 160, 0], np.uint8)


def test_rows_and_columns(tmp_path, pixels):
    sizes = {}
    for count in (1, 5, 6, 7, 13):
        tiles = [Tile(GREEN, [Caption("a")])] * count
        height, width, _ = pixels(image_grid.draw(tiles, tmp_path / "a.png")).shape
        sizes[count] = (height, width)
    assert sizes[1][1] == 2 * MARGIN + TILE
    assert sizes[6][1] == sizes[7][1] == 2 * MARGIN + 6 * TILE + 5 * GAP
    assert sizes[5][1] < sizes[6][1]
    assert sizes[5][0] == sizes[6][0] < sizes[7][0] < sizes[13][0]


@pytest.mark.parametrize("rows", [1, 12])
def test_the_heading_stands_above_the_first_row(tmp_path, pixels, rows):
    image = pixels(image_grid.draw([Tile(GREEN)] * 6 * rows, tmp_path / "grid.png", "A heading"))
    first = int((image == GREEN[0, 0]).all(axis=-1).any(axis=1).argmax())
    dark = (image[:first] < 128).all(axis=-1).any(axis=1)
    assert dark.any()
    assert not dark[first - 10 :].any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 200), (200, 1), (3000, 4000)])
def test_an_image_keeps_its_aspect_ratio_on_a_light_background(tmp_path, height, width):
    path = tmp_path / "image.png"
    Image.fromarray(np.full((height, width, 3), [0, 160, 0], np.uint8)).save(path)
    tile = image_grid.fit_tile(path)
    green = (np.abs(tile.astype(int) - [0, 160, 0]) <= 2).all(axis=-1)
    longest = max(height, width)
    assert green.any(axis=1).sum() == round(TILE * height / longest)
    assert green.any(axis=0).sum() == round(TILE * width / longest)
    pale = [int(canvas.LIGHT[at : at + 2], 16) for at in (1, 3, 5)]
    assert (tile[~green] == pale).all()


def test_an_image_that_cannot_be_read_is_a_gray_tile_with_its_name(tmp_path, pixels):
    (tmp_path / "text.jpg").write_text("no image")
    tiles = [Tile(tmp_path / "gone.jpg"), Tile(str(tmp_path / "text.jpg")), Tile(tmp_path), Tile(GREEN)]
    image = pixels(image_grid.draw(tiles, tmp_path / "grid.png"))
    for index in range(3):
        left = MARGIN + index * (TILE + GAP)
        tile = image[MARGIN : MARGIN + TILE, left : left + TILE]
        assert (tile == [0xD8, 0xDE, 0xE4]).all(axis=-1).mean() > 0.8
        assert (tile < 80).all(axis=-1).sum() > 50  # letters
    assert (image[MARGIN : MARGIN + TILE, MARGIN + 3 * (TILE + GAP) :][:, :TILE] == GREEN[0, 0]).all()


def test_the_bar_and_the_captions_have_the_width_of_the_image(tmp_path, pixels):
    long = "玫瑰 a name that is much too long for a tile of this size"
    tile = Tile(
        GREEN, [Caption(long, "loss 12.34"), Caption(long, "99.9 %", canvas.WRONG), Caption(long)], canvas.WRONG
    )
    image = pixels(image_grid.draw([tile], tmp_path / "grid.png"))
    red = (image == [0xCC, 0x33, 0x11]).all(axis=-1)
    assert red[MARGIN + TILE : MARGIN + TILE + 6, MARGIN : MARGIN + TILE].all()
    columns = np.flatnonzero((image < 200).any(axis=(0, 2)))
    assert columns[0] >= MARGIN - 2
    assert columns[-1] <= MARGIN + TILE + 12
