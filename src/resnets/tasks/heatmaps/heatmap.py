"""The heat map of a class on one image, and its drawing.

The image is shown in gray below a map, so that each color belongs to the map. What the network did not see is faded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.report.figures import canvas, font_fallback
from resnets.tasks.inputs.read_image import ImageInput, name_of, read_image

RAISES, LOWERS = (230, 60, 0), (0, 90, 230)  # red and blue, which color-blind readers tell apart
_OPACITY = 0.75  # of the largest value; 0 is transparent
_FADED = 0.65  # of white, where the network did not see the image
_SIDE = 480  # pixels of the longer side of an image
_GAP, _MARGIN, _LINE, _BAR = 24, 24, 26, 16  # pixels
_LETTER = 11  # pixels of a letter


@dataclass(frozen=True)
class Heatmap:
    """What each part of an image adds to the logit of a class: the class activation map.

    Attributes:
        class_name: of the class whose logit it explains.
        values: float32 (h, w), in the unit of the logit: `values.mean() + offset` is the logit.
        logit: of the class, as the network gives it, not divided by a temperature.
        offset: what all positions have in common: the bias of the last layer, or what of a head that is not linear its gradient
            leaves out.
        is_exact: whether the head is global average pooling and one linear layer. Else the map was found by the gradient.
        box: left, top, right and bottom, in pixels of the upright image, of what the network saw, which the h x w cells divide
            evenly. It is smaller than the image where that was cropped, and larger where it was padded.
        size: height and width of the upright image.
        image: what the map was computed for, as it was given.
    """

    class_name: str
    values: np.ndarray = field(repr=False, compare=False)
    logit: float
    offset: float
    is_exact: bool
    box: tuple[float, float, float, float]
    size: tuple[int, int]
    image: ImageInput = field(repr=False, compare=False)

    def on_image(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """float32 (height, width): the map at each pixel of the upright image, NaN where the network did not see it.

        Values are interpolated between the centers of the cells, bilinearly; outside of the outermost centers they are constant.

        Args:
            size: height and width to which the image is scaled; None for its own.
        """
        height, width = size or self.size
        left, top, right, bottom = self.box
        rows, seen_rows = _interpolation(height, self.values.shape[0], top / self.size[0], bottom / self.size[0])
        columns, seen_columns = _interpolation(width, self.values.shape[1], left / self.size[1], right / self.size[1])
        values = rows @ self.values.astype(np.float64) @ columns.T
        return np.where(seen_rows[:, None] & seen_columns, values, np.nan).astype(np.float32)

    def over_image(self, limit: float, side: int) -> np.ndarray:
        """The image in gray with the map over it, uint8 (height, width, 3).

        Args:
            limit: the value of the strongest colors.
            side: of the longer side of the result, in pixels.
        """
        pixels = scaled_image(self.image, side)
        return _colored(pixels, self.on_image((pixels.shape[0], pixels.shape[1])), limit)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the image; the class is the `label`."""
        values = [[round(each, 4) for each in row] for row in self.values.tolist()]
        return {
            "label": self.class_name, "values": values, "logit": self.logit, "offset": self.offset, "is_exact": self.is_exact,
            "box": list(self.box), "size": list(self.size),
        }  # fmt: skip

    def save(self, out: str | Path) -> Path:
        """Write a PNG or JPEG file with the image, the map over it, and a legend.

        Raises:
            JobError: the file cannot be written.
        """
        return draw([self], Path(out))


def largest_value(heatmaps: Sequence[Heatmap]) -> float:
    """The end of a color scale for several maps: the largest value without its sign."""
    return max((float(np.abs(each.values).max()) for each in heatmaps), default=0.0) or 1.0


def draw(heatmaps: Sequence[Heatmap], out: Path) -> Path:
    """Draw the maps of one image, at least one, side by side behind the image, with one color scale (PNG or JPEG)."""
    first, limit = heatmaps[0], largest_value(heatmaps)
    image = scaled_image(first.image, _SIDE)
    panels = [image, *(each.over_image(limit, _SIDE) for each in heatmaps)]
    high, wide = image.shape[0], max(image.shape[1], _SIDE)  # a narrow image leaves room for its legend
    width, height = 2 * _MARGIN + len(panels) * (wide + _GAP) - _GAP, 2 * _MARGIN + high + 3 * _LINE + _BAR
    background = np.full((height, width, 3), 255, np.uint8)
    with canvas.figure(out, width, height, "", layout=None, background=background) as page:

        def text(x: float, y: float, content: str, **options: Any) -> None:
            options |= {"fontsize": 10, "fontfamily": font_fallback.families(), "va": "center_baseline"}
            line = font_fallback.shortened(content, wide // _LETTER)
            page.text((_MARGIN + x) / width, 1 - (_MARGIN + high + y) / height, line, **options)

        for number, panel in enumerate(panels):
            left = number * (wide + _GAP)
            background[_MARGIN : _MARGIN + high, _MARGIN + left : _MARGIN + left + panel.shape[1]] = panel
            lines = _legend(heatmaps[number - 1]) if number else _description(first)
            for line, (content, color) in enumerate(lines):
                text(left, (line + 0.7) * _LINE, content, color=color)
            if number:
                top = _MARGIN + high + round(2.3 * _LINE)
                background[top : top + _BAR, _MARGIN + left : _MARGIN + left + wide] = _color_scale(wide)
                below = 2.9 * _LINE + _BAR
                text(left, below, f"{-limit:.1f}: lowers the logit")
                text(left + wide / 2, below, "0", ha="center")
                text(left + wide, below, f"raises it: +{limit:.1f}", ha="right")
    return out


def scaled_image(image: ImageInput, side: int) -> np.ndarray:
    """The upright image, uint8 (height, width, 3), whose longer side has `side` pixels. Raises ImageError as `decode` does."""
    pixels, _ = read_image(image, name_of(image, 0), Preprocess(), full_size=True)
    whole = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    ratio = side / max(whole.size)
    size = max(round(whole.width * ratio), 1), max(round(whole.height * ratio), 1)
    return np.asarray(whole.resize(size, Image.Resampling.BICUBIC))


def _interpolation(length: int, cells: int, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each cell, (length, cells), at the center of each pixel of an axis, and whether that lies on a cell.

    Args:
        start, end: of all cells together, as fractions of the axis.
    """
    positions = ((np.arange(length) + 0.5) / length - start) / (end - start) * cells  # in cells
    seen = (positions >= 0) & (positions <= cells)
    distances = np.abs(np.clip(positions - 0.5, 0, cells - 1)[:, None] - np.arange(cells))
    return np.maximum(1 - distances, 0), seen


def _colored(pixels: np.ndarray, values: np.ndarray, limit: float) -> np.ndarray:
    """An image, uint8 (H, W, 3), in gray with a map (H, W) over it, whose strongest colors mean `limit`."""
    gray = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)[..., None]
    strength = np.clip(np.nan_to_num(values) / limit, -1, 1)[..., None]
    mixed = gray + _OPACITY * np.abs(strength) * (np.where(strength > 0, RAISES, LOWERS) - gray)
    faded = gray + _FADED * (255 - gray)
    return np.where(np.isnan(values)[..., None], faded, mixed).round().astype(np.uint8)


def _color_scale(width: int) -> np.ndarray:
    """The colors of all values from the least to the largest, over gray."""
    return _colored(np.full((_BAR, width, 3), 200, np.uint8), np.tile(np.linspace(-1, 1, width), (_BAR, 1)), 1.0)


def _legend(heatmap: Heatmap) -> Iterator[tuple[str, str]]:
    """Lines with their colors: the class and its logit, and what this is made of."""
    yield f"{heatmap.class_name}: logit {heatmap.logit:.2f}", canvas.TEXT
    mean = f"{heatmap.values.mean():.2f}"
    if heatmap.is_exact:
        yield f"= mean of the map {mean} + bias {heatmap.offset:.2f}", canvas.MUTED
    else:
        yield f"= mean {mean} + rest {heatmap.offset:.2f}, by gradient", canvas.MUTED


def _description(heatmap: Heatmap) -> Iterator[tuple[str, str]]:
    yield Path(name_of(heatmap.image, 0)).name, canvas.MUTED
    yield f"{heatmap.size[1]} x {heatmap.size[0]} pixels", canvas.MUTED
    left, top, right, bottom = heatmap.box
    if left >= 1 or top >= 1 or right <= heatmap.size[1] - 1 or bottom <= heatmap.size[0] - 1:
        yield "faded: not seen by the network", canvas.MUTED
