"""Move objects with their image: turned as EXIF says, or scaled to another size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from resnets.data.object_datasets import object_masks
from resnets.data.object_datasets.object_masks import Polygons, RunLengths
from resnets.data.object_datasets.objects import Object

Move = Callable[[float, float], tuple[float, float]]
Change = Callable[[np.ndarray], np.ndarray]

TURNED = range(5, 9)  # the orientations that exchange height and width


def turn(each: Object, orientation: int, size: tuple[int, int]) -> Object:
    """The object in the upright image, from one in the stored image of `size` (height, width).

    `orientation` is one of `TURNED`, as EXIF numbers them.
    """
    height, width = size
    moves: dict[int, Move] = {
        5: lambda x, y: (y, x),
        6: lambda x, y: (height - y, x),
        7: lambda x, y: (height - y, width - x),
        8: lambda x, y: (y, width - x),
    }
    turns: dict[int, Change] = {
        5: lambda m: m.T,
        6: lambda m: np.rot90(m, -1),
        7: lambda m: np.rot90(m, 2).T,
        8: np.rot90,
    }
    return _move(each, moves[orientation], turns[orientation])


def scale(each: Object, size: tuple[int, int], new_size: tuple[int, int]) -> Object:
    """The object in an image of `new_size` (height, width), from one of `size`."""
    factors = new_size[1] / size[1], new_size[0] / size[0]

    def resize(mask: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(mask).resize(new_size[::-1], Image.Resampling.NEAREST))

    moved = _move(each, lambda x, y: (x * factors[0], y * factors[1]), resize)
    return moved if each.area is None else replace(moved, area=each.area * factors[0] * factors[1])


def _move(each: Object, move: Move, change: Change) -> Object:
    (x1, y1), (x2, y2) = move(*each.box[:2]), move(*each.box[2:])
    mask = each.mask
    if isinstance(mask, Polygons):
        pairs = [zip(points[::2], points[1::2], strict=True) for points in mask.points]
        mask = Polygons(tuple(tuple(value for point in points for value in move(*point)) for points in pairs))
    elif isinstance(mask, RunLengths):
        mask = object_masks.encode(change(mask.decode(mask.height, mask.width)))
    # The corners are exchanged where the image is turned, not sorted: a box with exchanged corners stays one, which is an error.
    (left, top), (right, bottom) = move(0, 0), move(1, 1)
    x1, x2 = (x1, x2) if left < right else (x2, x1)
    y1, y2 = (y1, y2) if top < bottom else (y2, y1)
    return replace(each, box=(x1, y1, x2, y2), mask=mask)
