"""Read each mask once: its size, and the values of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resnets.data.image.decode import DecodeError, inspect
from resnets.data.image.decode_mask import decode_mask
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.mask_datasets.image_mask import read_values
from resnets.data.mask_datasets.mask_layout import ImageMaskPair
from resnets.progress import progress_bar

AHEAD = 64
SNIFFED = 16  # masks that tell whether those of a dataset have colors or numbers


class Scan(NamedTuple):
    """What is known of an image with a mask in a file.

    Attributes:
        stored: (height, width) of the image as it is stored, before `orientation`, that of EXIF, is applied; None if the
            image cannot be read.
        mask_size: (height, width) of the mask; None if it cannot be read, and `error` says why.
        values: int64 (K,), the different values of its pixels.
        counts: int64 (K,), the number of pixels of each.
    """

    stored: tuple[int, int] | None
    orientation: int
    mask_size: tuple[int, int] | None
    values: np.ndarray
    counts: np.ndarray
    error: str = ""

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the upright image."""
        return self.stored[::-1] if self.stored and self.orientation >= 5 else self.stored


def scan_masks(images: Sequence[ImageMaskPair], *, color_coded: bool) -> list[Scan]:
    """Scan the images, all of which have a mask."""

    def scan(image: ImageMaskPair) -> Scan:
        return _scan(image, color_coded)

    found = ordered_map(scan, images, workers=None, ahead=AHEAD)
    return list(progress_bar(found, description="reading masks", total=len(images), unit="images"))


def have_colors(images: Sequence[ImageMaskPair]) -> bool:
    """Whether some of a few masks have colors instead of numbers."""
    masks = [str(image.mask) for image in images]
    return any(map(_has_colors, masks[:: max(len(masks) // SNIFFED, 1)]))


def _has_colors(mask: str) -> bool:
    try:
        decode_mask(mask)
    except DecodeError:
        try:
            pixels = decode_mask(mask, as_colors=True)
        except DecodeError:
            return False
        return bool((pixels != pixels[..., :1]).any())
    return False


def _scan(image: ImageMaskPair, color_coded: bool) -> Scan:
    try:
        header = inspect(image.image)
        stored, orientation = (header.height, header.width), header.orientation
    except DecodeError:  # `data.check` finds it
        stored, orientation = None, 1
    try:
        pixels = read_values(str(image.mask), color_coded=color_coded)
    except DecodeError as error:
        return Scan(stored, orientation, None, np.empty(0, np.int64), np.empty(0, np.int64), str(error))
    return Scan(stored, orientation, (pixels.shape[0], pixels.shape[1]), *count_values(pixels))


def count_values(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values, and the number of pixels of each. Only the beginnings of runs are sorted, which are few in a mask."""
    flat = pixels.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(starts, append=len(flat))
    values, inverse = np.unique(flat[starts], return_inverse=True)
    return values.astype(np.int64), np.bincount(inverse, lengths, len(values)).astype(np.int64)
