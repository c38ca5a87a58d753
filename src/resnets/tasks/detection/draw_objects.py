"""Draw boxes, masks and captions on an image, readable on images of 8 to 8,000 pixels."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resnets.report.figures import font_fallback
from resnets.report.figures.class_color import Color, class_color

MIN_SIDE = 480  # pixels of the longer side; a smaller image is enlarged, so that there is room for captions
_TEXT_HEIGHT = 0.022  # of the longer side
_MIN_TEXT = 13  # pixels
_OPACITY = 0.45  # of a mask
_MAX_LETTERS = 40
_LETTER_WIDTH = 0.62  # of the text height


def draw(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    scores: np.ndarray | None = None,
    masks: Sequence[Any] | None = None,
) -> np.ndarray:
    """Draw objects in the colors of their classes, with the name of the class and the score.

    Args:
        image: uint8 (H, W, 3).
        boxes: (k, 4): x1, y1, x2, y2 in pixels of the image.
        labels: int (k,).
        scores: (k,), in descending order: the first ones are on top.
        masks: COCO run-length encodings, or bool (H, W).

    Returns:
        uint8 (H, W, 3), or a whole multiple of that for an image below 480 pixels.
    """
    names = [class_names[label] for label in labels.tolist()]
    if scores is not None:
        names = [f"{name} {score:.2f}" for name, score in zip(names, scores.tolist(), strict=True)]
    return draw_captions(image, boxes, names, [class_color(label) for label in labels.tolist()], masks)


def draw_captions(
    image: np.ndarray,
    boxes: np.ndarray,
    captions: Sequence[str],
    colors: Sequence[Color],
    masks: Sequence[Any] | None = None,
) -> np.ndarray:
    """Draw boxes with any captions; "" for none. A caption that has no place beside or in its box, and those of the boxes before
    it, is left out.
    """
    order = range(len(boxes) - 1, -1, -1)
    pixels = _blend(image, [masks[k] for k in order], [colors[k] for k in order]) if masks else image
    factor = max(1, round(MIN_SIDE / max(image.shape[:2])))
    if factor > 1:
        pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    canvas = Image.fromarray(pixels)
    pen = ImageDraw.Draw(canvas)
    size = max(_MIN_TEXT, round(_TEXT_HEIGHT * max(canvas.size)))
    width = max(2, size // 8)
    corners = [tuple(box) for box in (np.asarray(boxes, np.float64).reshape(-1, 4) * factor).tolist()]
    for k in order:
        _outline(pen, corners[k], colors[k], width)
    taken: list[tuple[float, float, float, float]] = []
    for box, caption, color in zip(corners, captions, colors, strict=True):
        if caption:
            frame = box[0] - width, box[1] - width, box[2] + width, box[3] + width
            _caption(pen, frame, caption, color, size, taken)
    return np.asarray(canvas)


def _blend(image: np.ndarray, masks: Sequence[Any], colors: Sequence[Color]) -> np.ndarray:
    from faster_coco_eval.core import mask as coco_masks

    pixels = image.copy()
    height, width = image.shape[:2]
    for mask, color in zip(masks, colors, strict=True):
        covered = mask if isinstance(mask, np.ndarray) else coco_masks.decode(mask)
        if covered.shape != (height, width):  # the image was resized
            rows, columns = (
                (np.arange(new) * old // new) for new, old in zip((height, width), covered.shape, strict=True)
            )
            covered = covered[rows[:, None], columns]
        ys, xs = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
        if not len(ys):
            continue
        area = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
        inside = covered[area].astype(bool)
        for channel, value in enumerate(color):
            blended = (np.arange(256) * (1 - _OPACITY) + value * _OPACITY).astype(np.uint8)
            plane = pixels[*area, channel]
            plane[inside] = blended[plane[inside]]
    return pixels


def _outline(pen: ImageDraw.ImageDraw, box: tuple[float, ...], color: Color, width: int) -> None:
    """Draw a frame around the box, which covers nothing of a small object, and stays in the image."""
    room_x, room_y = pen.im.size
    for margin, line, ink in ((width + 1, 1, _contrast(color)), (width, width, color)):
        left, top = max(box[0] - margin, 0), max(box[1] - margin, 0)
        right, bottom = min(box[2] + margin, room_x) - 1, min(box[3] + margin, room_y) - 1
        pen.rectangle((left, top, max(right, left), max(bottom, top)), outline=ink, width=line)


def _caption(
    pen: ImageDraw.ImageDraw,
    frame: tuple[float, ...],
    text: str,
    color: Color,
    size: int,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """Write the caption above the frame, below it, or in it, where no other one is, and add its place to `taken`."""
    room_x, room_y = pen.im.size
    line = font_fallback.shortened(text, max(2, min(_MAX_LETTERS, int(room_x / (_LETTER_WIDTH * size)))))
    font = _font(line, size)
    pad = max(1, size // 6)
    length, height = pen.textlength(line, font=font) + 2 * pad, size + 2 * pad
    left, top, right, bottom = frame
    corners = [(left, top - height), (left, bottom), (left, top), (right - length, bottom - height), (right, top)]
    for x, y in corners:
        if not (0 <= y <= room_y - height):
            continue
        x = min(max(x, 0), max(room_x - length, 0))
        place = (x, y, x + length, y + height)
        if not any(x < other[2] and other[0] < place[2] and y < other[3] and other[1] < place[3] for other in taken):
            taken.append(place)
            pen.rectangle((x, y, x + length - 1, y + height - 1), fill=color)
            pen.text((x + pad, y + height / 2), line, fill=_contrast(color), font=font, anchor="lm")
            return


def _contrast(color: Color) -> Color:
    """Black or white, whichever is read better on the color."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return _load_font(font_fallback.font_file(text), size)


@functools.cache
def _load_font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
