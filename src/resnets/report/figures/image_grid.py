"""Grids of images with captions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageOps

from resnets.data.image.decode import DecodeError, decode
from resnets.report.figures import canvas, font_fallback

TILE = 220  # pixels of an image's longer side
MAX_IMAGES = 30
_COLUMNS = 6
_GAP, _MARGIN, _HEADING = 20, 30, 50
_LINE = 28  # pixels from one line under an image to the next
_SIZE = 9.5  # points
_LETTER = 11  # pixels of a letter in a line that is as wide as an image
_BAR = 6  # pixels of the colored bar under an image


class Caption(NamedTuple):
    """A line below an image: a text, whose middle is left out where it is too long, and a value at the right end."""

    text: str
    value: str = ""
    color: str = canvas.TEXT


def file_caption(path: str) -> Caption:
    """The name of a file with its folder, which is often its class."""
    return Caption("/".join(Path(path).parts[-2:]), color=canvas.MUTED)


class Tile(NamedTuple):
    """One image of a grid: a path, or uint8 (H, W, 3); lines below it; and the color of a bar under it, if any."""

    image: str | Path | np.ndarray
    captions: Sequence[Caption] = ()
    bar: str | None = None


def draw(tiles: Sequence[Tile], out: Path, heading: str = "", side: int = TILE, columns: int = _COLUMNS) -> Path:
    """Draw the tiles row by row; an image that cannot be read becomes a gray tile with the reason.

    Args:
        tiles: at least one.
        out: the image file, `.jpg` or `.png`.
        heading: a line above the grid.
        side: pixels of an image's longer side.
        columns: images in a row, at most.
    """
    columns, letters = min(columns, len(tiles)), side // _LETTER
    lines = max(len(tile.captions) for tile in tiles)
    step_x, step_y = side + _GAP, side + _GAP + _BAR + lines * _LINE
    top = _MARGIN + (_HEADING if heading else 0)
    height, width = top + math.ceil(len(tiles) / columns) * step_y, 2 * _MARGIN + columns * step_x - _GAP
    pixels = np.full((height, width, 3), 255, np.uint8)
    with canvas.figure(out, width, height, heading, layout=None, background=pixels) as page:

        def text(x: float, y: float, content: str, **options: Any) -> None:
            options |= {"fontsize": _SIZE, "fontfamily": font_fallback.families(), "va": "center_baseline"}
            page.text(x / width, 1 - y / height, content, **options)

        for k, tile in enumerate(tiles):
            x, y = _MARGIN + k % columns * step_x, top + k // columns * step_y
            try:
                pixels[y : y + side, x : x + side] = fit_tile(tile.image, side)
            except DecodeError as error:
                pixels[y : y + side, x : x + side] = ImageColor.getrgb(canvas.GRID)
                text(x + 8, y + side / 2 - 14, font_fallback.shortened(Path(str(tile.image)).name, letters - 1))
                text(x + 8, y + side / 2 + 14, font_fallback.shortened(f"not shown: {error.kind}", letters - 1))
            if tile.bar:
                pixels[y + side : y + side + _BAR, x : x + side] = ImageColor.getrgb(tile.bar)
            for line, caption in enumerate(tile.captions):
                middle = y + side + _BAR + (line + 0.6) * _LINE
                room = letters - (len(caption.value) + 1 if caption.value else 0)
                # Two texts, so that Arabic reorders neither.
                text(x, middle, font_fallback.shortened(caption.text, room), color=caption.color)
                text(x + side, middle, caption.value, color=caption.color, ha="right")
    return out


def fit_tile(image: str | Path | np.ndarray, side: int = TILE) -> np.ndarray:
    """An image as a tile: uint8 (side, side, 3), its aspect ratio kept, on a light background.

    Raises:
        DecodeError: the file does not exist or is not an image.
    """
    pixels = image if isinstance(image, np.ndarray) else decode(image, min_side=side)
    return np.asarray(ImageOps.pad(Image.fromarray(pixels), (side, side), Image.Resampling.BICUBIC, color=canvas.LIGHT))
