"""Grids of images with their true and predicted classes: batches, predictions, highest losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnets.data.image.decode import DecodeError, decode
from resnets.report.figures import canvas
from resnets.report.figures.canvas import Canvas, Frame

if TYPE_CHECKING:
    from resnets.tasks.classification.prediction_set import Predictions

TILE = 220  # pixels of an image's longer side
_GAP = 20
_MARGIN = 30
_LINE = 28  # pixels from one line under an image to the next
_SIZE = 19
MAX_IMAGES = 30
NUM_TOP_LOSSES = 24


@dataclass(frozen=True)
class Tile:
    """One image of a grid and up to three lines below it.

    Args:
        image: a path, or an array (H, W, 3), (H, W), (H, W, 1), (3, H, W) or (1, H, W): uint8, or float, where values
            outside 0 to 1 (a normalized tensor) are scaled from their minimum to their maximum.
        title: the first line.
        subtitle: the second line, in the color of `correct`.
        correct: True draws a blue bar and a tick, False a red bar and a cross, None neither.
        title_value: text at the right end of the first line, never cut.
        subtitle_value: the same for the second line.
        note: the third line, small, whose end is kept when it is too long.
    """

    image: str | Path | np.ndarray
    title: str = ""
    subtitle: str = ""
    correct: bool | None = None
    title_value: str = ""
    subtitle_value: str = ""
    note: str = ""


def draw(tiles: Sequence[Tile], out: str | Path, columns: int = 6, heading: str = "") -> Path:
    """Draw the tiles row by row; an image that cannot be read becomes a gray tile with the reason.

    Args:
        tiles: at least one.
        out: the image file, `.jpg` or `.png`.
        columns: tiles in a row.
        heading: a line above the grid.
    """
    columns = max(1, min(columns, len(tiles)))
    lines = max((_lines(tile) for tile in tiles), default=0)
    step_x, step_y = TILE + _GAP, TILE + _GAP + lines * _LINE + (8 if lines else 0)
    top = _MARGIN + (50 if heading else 0)
    rows = math.ceil(len(tiles) / columns)
    page = Canvas(2 * _MARGIN + columns * step_x - _GAP, top + rows * step_y + _MARGIN - _GAP)
    if heading:
        page.text(_MARGIN, _MARGIN + 12, heading, size=24, bold=True, max_width=page.width - 2 * _MARGIN)
    for k, tile in enumerate(tiles):
        _tile(page, tile, _MARGIN + (k % columns) * step_x, top + (k // columns) * step_y)
    return page.save(out)


def _lines(tile: Tile) -> int:
    return 3 if tile.note else 2 if tile.subtitle or tile.subtitle_value else 1 if tile.title else 0


def _tile(page: Canvas, tile: Tile, left: float, top: float) -> None:
    try:
        page.image(left, top, fit_tile(tile.image))
    except DecodeError as error:
        page.fill(Frame(left, top, TILE, TILE), canvas.GRID)
        name = Path(str(tile.image)).name
        page.text(
            left + TILE / 2, top + TILE / 2 - 14, name, size=_SIZE, align="center", max_width=TILE - 20, keep="end"
        )
        reason = f"cannot be shown: {error.kind}"
        page.text(
            left + TILE / 2,
            top + TILE / 2 + 14,
            reason,
            size=16,
            align="center",
            max_width=TILE - 20,
            color=canvas.MUTED,
        )
    y = top + TILE + 8 + _LINE / 2 + 4
    _line(page, left, y, tile.title, tile.title_value, canvas.TEXT, bold=False)
    color = {True: canvas.RIGHT, False: canvas.WRONG, None: canvas.TEXT}[tile.correct]
    indent = 0
    if tile.correct is not None:
        page.fill(Frame(left, top + TILE, TILE, 6), color)
        page.text(left, y + _LINE, "✓" if tile.correct else "✗", size=_SIZE, color=color, bold=True)
        indent = 22
    _line(page, left, y + _LINE, tile.subtitle, tile.subtitle_value, color, bold=tile.correct is False, indent=indent)
    page.text(left, y + 2 * _LINE, tile.note, size=16, color=canvas.MUTED, max_width=TILE, keep="end")


def _line(
    page: Canvas, left: float, y: float, text: str, value: str, color: str, *, bold: bool, indent: int = 0
) -> None:
    """A text at the left, cut to the width beside the value at the right; two texts, so that Arabic reorders neither."""
    max_width = (
        TILE - indent - (canvas.text_width(canvas.font_fallback.drawable(value), _SIZE, bold) + 10 if value else 0)
    )
    page.text(left + indent, y, text, size=_SIZE, color=color, max_width=max_width, keep="middle", bold=bold)
    page.text(left + TILE, y, value, size=_SIZE, color=color, align="right", bold=bold)


def fit_tile(image: str | Path | np.ndarray) -> np.ndarray:
    """An image as a tile: uint8 (220, 220, 3), its aspect ratio kept, on a light background.

    Raises:
        DecodeError: the file does not exist or is not an image.
    """
    from PIL import Image

    pixels = as_rgb(image) if isinstance(image, np.ndarray) else decode(image, min_side=TILE)
    height, width = pixels.shape[:2]
    factor = TILE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    tile = np.full((TILE, TILE, 3), canvas.rgb(canvas.LIGHT), np.uint8)
    x, y = (TILE - size[0]) // 2, (TILE - size[1]) // 2
    tile[y : y + size[1], x : x + size[0]] = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return tile


def as_rgb(array: np.ndarray) -> np.ndarray:
    """An array of any of the shapes and ranges of `Tile.image` as uint8 (H, W, 3)."""
    if array.ndim == 2:
        array = array[..., None]
    elif array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = np.moveaxis(array, 0, -1)
    array = array[..., :3] if array.shape[2] > 3 else array[..., :1].repeat(3, axis=2) if array.shape[2] < 3 else array
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    values = np.nan_to_num(array.astype(np.float64))
    low, high = min(0.0, values.min()), max(1.0, values.max())
    return np.ascontiguousarray(((values - low) / (high - low) * 255).round().astype(np.uint8))


def draw_predictions(results: Predictions, out: str | Path) -> Path:
    """Draw random images with their true and predicted classes (`val_batch_pred.jpg`); wrong ones are red."""
    count = len(results.paths)
    chosen = sorted(np.random.default_rng(0).permutation(count)[:MAX_IMAGES])
    tiles = [_prediction_tile(results, int(k)) for k in chosen]
    labeled = [tile.correct for tile in tiles if tile.correct is not None]
    heading = f"{len(tiles)} random images"
    return draw(tiles, out, heading=f"{heading}: {sum(labeled)} right" if labeled else heading)


def _prediction_tile(results: Predictions, k: int) -> Tile:
    path, predicted = results.paths[k], results.class_names[results.predicted[k]]
    confidence = _percent(results.confidence[k])
    if not results.labeled[k]:
        return Tile(path, title=predicted, title_value=confidence, note=path)
    correct = bool(results.correct[k])
    return Tile(
        path, title=results.class_names[results.true[k]], subtitle=predicted, correct=correct, subtitle_value=confidence
    )


def draw_top_losses(results: Predictions, out: str | Path) -> Path:
    """Draw the labeled images with the highest losses (`top_losses.png`), among them wrong labels."""
    labeled = results.with_labels()
    chosen = np.argsort(-labeled.losses, kind="stable")[:NUM_TOP_LOSSES]
    tiles = []
    for k in map(int, chosen):
        tile = _prediction_tile(labeled, k)
        tiles.append(replace(tile, title_value=_loss(labeled.losses[k]), note=labeled.paths[k]))
    return draw(tiles, out, heading="Highest losses: true class, predicted class, confidence")


def _loss(loss: float) -> str:
    return "loss <0.01" if loss < 0.01 else f"loss {loss:.2f}"


def _percent(probability: float) -> str:
    """A probability in percent; 100 % only where it is exact."""
    return f"{min(99.9, 100 * probability):.1f} %" if 0.99 <= probability < 1 else f"{100 * probability:.0f} %"
