"""Masks of objects in the two forms of COCO's annotations: polygons, and run lengths.

The pixels of a polygon are those that COCO's own functions give: the evaluation of other programs uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_SIDE = 1 << 20  # pixels; the library computes with 32-bit numbers
_CODE = 48  # the character of 0 in compressed run lengths


@dataclass(frozen=True, slots=True)
class Polygons:
    """The union of polygons, each a tuple x1, y1, x2, y2, ... of at least three points, in pixels of the upright image."""

    points: tuple[tuple[float, ...], ...]

    def to_coco(self, height: int, width: int) -> dict[str, Any]:
        """Compressed run lengths of a mask (height, width): `{"size": [height, width], "counts": str}`."""
        rle = _library()
        return _with_text(rle.merge(rle.frPyObjects([list(each) for each in self.points], height, width)))

    def decode(self, height: int, width: int) -> np.ndarray:
        """bool (height, width)."""
        return _decode(self.to_coco(height, width))

    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 of the points."""
        xs, ys = ([value for each in self.points for value in each[axis::2]] for axis in (0, 1))
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True, slots=True)
class RunLengths:
    """Numbers of pixels outside and inside in turn, down the columns of a mask (height, width), compressed as COCO does."""

    height: int
    width: int
    counts: str

    def to_coco(self, height: int, width: int) -> dict[str, Any]:
        """As `Polygons.to_coco`; ValueError if the mask is of another size."""
        if (height, width) != (self.height, self.width):
            raise ValueError(f"a mask of {self.width}x{self.height} pixels in an image of {width}x{height}")
        return {"size": [height, width], "counts": self.counts}

    def decode(self, height: int, width: int) -> np.ndarray:
        """bool (height, width)."""
        return _decode(self.to_coco(height, width))

    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 around the pixels; four zeros without any."""
        x, y, width, height = (float(value) for value in _library().toBbox(self.to_coco(self.height, self.width)))
        return x, y, x + width, y + height


Mask = Polygons | RunLengths


def area(mask: Mask, height: int, width: int) -> int:
    """The number of its pixels in an image (height, width)."""
    return int(_library().area(mask.to_coco(height, width)))


def encode(mask: np.ndarray) -> RunLengths:
    """The run lengths of a mask, bool (H, W)."""
    text = _with_text(_library().encode(np.asfortranarray(mask, dtype=np.uint8)))["counts"]
    return RunLengths(mask.shape[0], mask.shape[1], text)


def read_segmentation(segmentation: object) -> Mask | None:
    """The mask, from a list of polygons, a polygon, or run lengths of either kind; None if there is none.

    Raises:
        ValueError: what is wrong with it.
    """
    if isinstance(segmentation, dict):
        return read_run_lengths(segmentation)
    if isinstance(segmentation, list):
        return read_polygons(segmentation)
    if segmentation is None:
        return None
    raise ValueError("the segmentation is neither a list nor an object")


def read_polygons(values: Sequence[object]) -> Polygons | None:
    """The mask of a list of polygons, or of the numbers of one; None without any.

    Raises:
        ValueError: a polygon has fewer than three points, or a value is not a finite number.
    """
    lists = [values] if values and not isinstance(values[0], list | tuple) else values
    polygons = []
    for each in lists:
        if not isinstance(each, list | tuple) or len(each) < 6 or len(each) % 2:
            raise ValueError("a polygon is not a list of at least three points")
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in each):
            raise ValueError("a polygon has a value that is not a number")
        try:
            polygons.append(tuple(map(float, each)))
        except OverflowError:
            raise ValueError("a polygon has a number that is too large") from None
        if not np.abs(polygons[-1]).max() < MAX_SIDE:
            raise ValueError("a polygon has a number that is not finite, or too large")
    return Polygons(tuple(polygons)) if polygons else None


def read_run_lengths(values: dict[str, object]) -> RunLengths:
    """The mask of COCO's `{"size": [height, width], "counts": ...}`, whose counts are a list of numbers, or compressed.

    Raises:
        ValueError: the counts are none, or their sum is not the number of pixels.
    """
    size, counts = values.get("size"), values.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(_is_count(side) and 0 < side < MAX_SIDE for side in size)
    ):
        raise ValueError("run lengths without their size")
    height, width = size
    if isinstance(counts, list):
        if not all(map(_is_count, counts)):
            raise ValueError("run lengths have a value that is not a number of pixels")
        numbers = counts
    elif isinstance(counts, str):
        numbers = _decompress(counts).tolist()
    else:
        raise ValueError("run lengths without counts")
    if sum(numbers) != height * width or min(numbers) < 0:
        raise ValueError(f"run lengths are not those of {width}x{height} pixels")
    text = counts if isinstance(counts, str) else _compress(counts, height, width)
    return RunLengths(height, width, text)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _compress(counts: list[int], height: int, width: int) -> str:
    text: str = _with_text(_library().frPyObjects({"size": [height, width], "counts": counts}, height, width))["counts"]
    return text


def _decompress(text: str) -> np.ndarray:
    """int64 (N,): the numbers, each in groups of five bits, lowest first, of which the sixth bit says whether another follows.

    From the fourth on, a number is stored as the difference to the last but one.
    """
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - _CODE
    ends = np.flatnonzero((codes & 32) == 0)
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError("run lengths that are not compressed as COCO's")
    lengths = np.diff(ends, prepend=-1)
    starts = ends - lengths + 1
    if lengths.max() > 8:
        raise ValueError("run lengths that are too large")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers


def _decode(coco: dict[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(_library().decode(coco).astype(bool))


def _with_text(coco: dict[str, Any]) -> dict[str, Any]:
    counts = coco["counts"]
    return {"size": list(coco["size"]), "counts": counts if isinstance(counts, str) else counts.decode("ascii")}


def _library() -> Any:
    from faster_coco_eval.core import mask

    return mask
