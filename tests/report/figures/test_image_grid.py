"""Grids of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from resnets.report.figures import canvas, image_grid
from resnets.report.figures.image_grid import TILE, Tile

MARGIN, GAP = 30, 20
GREEN = np.full((8, 8, 3), [0, 160, 0], np.uint8)


def test_rows_and_columns(tmp_path, pixels):
    sizes = {}
    for count in (1, 5, 6, 7, 13):
        height, width, _ = pixels(image_grid.draw([Tile(GREEN, "a")] * count, tmp_path / "a.png", columns=6)).shape
        sizes[count] = (height, width)
    assert sizes[1][1] == 2 * MARGIN + TILE
    assert sizes[6][1] == sizes[7][1] == 2 * MARGIN + 6 * TILE + 5 * GAP
    assert sizes[5][1] < sizes[6][1]
    assert sizes[5][0] == sizes[6][0] < sizes[7][0] < sizes[13][0]


@pytest.mark.parametrize(
    "array",
    [
        GREEN,
        GREEN / 255,
        (GREEN / 255).astype(np.float32).transpose(2, 0, 1),
        np.dstack([GREEN, GREEN[..., :1]]),
    ],
)
def test_arrays_of_any_kind(array):
    tile = image_grid.fit_tile(np.asarray(array))
    assert tile.shape == (TILE, TILE, 3)
    assert tile.dtype == np.uint8
    assert np.abs(tile.astype(int) - [0, 160, 0]).max() <= 1


def test_gray_and_normalized_arrays():
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    for array in (ramp, ramp[..., None], ramp[None]):
        tile = image_grid.as_rgb(array)
        assert (tile[..., 0] == tile[..., 1]).all()
        assert (tile[0, 0, 0], tile[-1, -1, 0]) == (0, 255)
    normalized = image_grid.as_rgb(np.stack([ramp * 4 - 2] * 3))
    assert (normalized.min(), normalized.max()) == (0, 255)
    assert image_grid.as_rgb(np.full((4, 4), np.nan)).shape == (4, 4, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 900), (900, 1), (8, 8), (3000, 4000), (300, 200)])
def test_an_image_keeps_its_aspect_ratio_on_a_light_background(tmp_path, height, width):
    path = tmp_path / "image.png"
    Image.fromarray(np.full((height, width, 3), [0, 160, 0], np.uint8)).save(path)
    tile = image_grid.fit_tile(path)
    green = (np.abs(tile.astype(int) - [0, 160, 0]) <= 2).all(axis=-1)
    rows, columns = green.any(axis=1).sum(), green.any(axis=0).sum()
    longest = max(height, width)
    assert (rows, columns) == (max(1, round(TILE * height / longest)), max(1, round(TILE * width / longest)))
    pale = [int(canvas.LIGHT[at : at + 2], 16) for at in (1, 3, 5)]
    assert (tile[~green] == pale).all()


def test_a_missing_image_is_a_gray_tile_with_its_name(tmp_path, pixels, near):
    (tmp_path / "text.jpg").write_text("no image")
    tiles = [
        Tile(tmp_path / "gone.jpg", "a"),
        Tile(str(tmp_path / "text.jpg"), "b"),
        Tile(tmp_path, "c"),
        Tile(GREEN, "d"),
    ]
    image = pixels(image_grid.draw(tiles, tmp_path / "grid.png"))
    for index in range(3):
        left = MARGIN + index * (TILE + GAP)
        tile = image[MARGIN : MARGIN + TILE, left : left + TILE]
        assert near(tile, canvas.GRID).mean() > 0.8
        assert near(tile, canvas.TEXT, 30).sum() > 50


def test_right_is_blue_wrong_is_red_unknown_is_neither(tmp_path, pixels, near):
    tiles = [Tile(GREEN, "a", "a", correct=True), Tile(GREEN, "a", "b", correct=False), Tile(GREEN, "a", "b")]
    image = pixels(image_grid.draw(tiles, tmp_path / "grid.png"))
    columns = [slice(MARGIN + k * (TILE + GAP), MARGIN + k * (TILE + GAP) + TILE) for k in range(3)]
    blue = [near(image[:, tile], canvas.RIGHT).sum() for tile in columns]
    red = [near(image[:, tile], canvas.WRONG).sum() for tile in columns]
    assert blue[0] > 6 * TILE
    assert red[1] > 6 * TILE
    assert blue[1:] == [0, 0]
    assert red[0] == red[2] == 0


def test_texts_do_not_leave_their_tile(tmp_path, pixels):
    long = "玫瑰 a name that is much too long for a tile of this size"
    tile = Tile(
        GREEN, long, long, correct=False, title_value="loss 12.34", subtitle_value="99.9 %", note="/far/away/" * 20
    )
    image = pixels(image_grid.draw([tile], tmp_path / "grid.png"))
    columns = np.flatnonzero((image < 200).any(axis=(0, 2)))
    assert columns[0] >= MARGIN - 2
    assert columns[-1] <= MARGIN + TILE + 2


def test_the_highest_losses_come_first(tmp_path, predicted, monkeypatch):
    colors = [[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]]
    paths = []
    for number, color in enumerate(colors):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((9, 9, 3), color, np.uint8)).save(paths[-1])
    results = predicted(paths, ["ant", "bee"])
    logits = np.array([[0, 0], [0, 5], [0, 9], [5, 0]], np.float32)
    results = replace(results, true=np.array([0, 0, 0, -1]), logits=logits)
    with Image.open(image_grid.draw_top_losses(results, tmp_path / "top_losses.png")) as image:
        row = np.asarray(image)[180]
    middles = [MARGIN + k * (TILE + GAP) + TILE // 2 for k in range(3)]
    assert [list(row[x]) for x in middles] == [colors[2], colors[1], colors[0]]
    assert image.width == 2 * MARGIN + 3 * TILE + 2 * GAP  # the unlabeled one is not among them


def test_random_images_are_the_same_in_every_call(tmp_path, predicted, images):
    results = predicted(images(60), ["ant", "bee", "cat"])
    one = image_grid.draw_predictions(results, tmp_path / "a.jpg").read_bytes()
    assert image_grid.draw_predictions(results, tmp_path / "b.jpg").read_bytes() == one
    unlabeled = replace(results, true=np.full(60, -1))
    assert image_grid.draw_predictions(unlabeled, tmp_path / "c.jpg").read_bytes() != one


@pytest.mark.parametrize(("probability", "text"), [(1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50 %"), (0.001, "0 %")])
def test_only_a_probability_of_1_is_shown_as_100_percent(probability, text):
    assert image_grid._percent(probability) == text
