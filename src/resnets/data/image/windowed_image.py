"""Read windows of images that are too large to be decoded as a whole: tiled TIFF, TIFF in strips, and `.npy`."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from resnets.data.image.decode import MAX_PIXELS, inspect
from resnets.data.image.open_image_file import DecodeError, open_image_file, short_reason
from resnets.data.image.tiff_blocks import TiffBlocks
from resnets.errors import ImageError

NPY_MAGIC = b"\x93NUMPY"
CACHE_BYTES = 2**27  # of decoded blocks of a TIFF


class WindowedImage(Protocol):
    """An image of which parts are read."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """uint8 (height, width, 3): a window, which lies within the image. Raises DecodeError where it is damaged."""


def is_npy(path: str | Path) -> bool:
    """Whether it is a file of NumPy's format."""
    try:
        with open_image_file(path) as file:
            return file.read(len(NPY_MAGIC)) == NPY_MAGIC
    except (ImageError, OSError):
        return False


def is_windowed(path: str | Path) -> bool:
    """Whether an image is to be read by windows: a `.npy`, and a TIFF with more pixels than are decoded as a whole."""
    if is_npy(path):
        return True
    try:
        info = inspect(path, max_pixels=1 << 40)
    except ImageError:
        return False
    return info.format == "TIFF" and info.width * info.height > MAX_PIXELS


def open_windows(path: str | Path) -> WindowedImage:
    """Open an image whose windows are to be read, of any size.

    A TIFF has tiles, or strips, of at most 89 million pixels, or one uncompressed strip; its pixels become RGB as
    `decode` says. A `.npy` holds uint8 (H, W, 3) RGB, or (H, W) gray, in the order of C.

    Raises:
        DecodeError: it is neither, or cannot be read.
    """
    return _NpyWindows(path) if is_npy(path) else _TiffWindows(path)


class _TiffWindows:
    """Keeps the last blocks, since neighboring windows share them."""

    def __init__(self, path: str | Path) -> None:
        self.blocks = TiffBlocks(path)
        self.size = self.blocks.size
        self.kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self.limit = CACHE_BYTES

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See `WindowedImage`."""
        result = np.empty((height, width, 3), np.uint8)
        block_height, block_width = self.blocks.block
        for row in range(top // block_height, -(-(top + height) // block_height)):
            for column in range(left // block_width, -(-(left + width) // block_width)):
                block = self._block(row, column)
                y, x = row * block_height, column * block_width
                here = _overlap(top, height, y, block.shape[0]), _overlap(left, width, x, block.shape[1])
                target = tuple(
                    slice(part.start - start, part.stop - start) for part, start in zip(here, (top, left), strict=True)
                )
                source = tuple(
                    slice(part.start - start, part.stop - start) for part, start in zip(here, (y, x), strict=True)
                )
                result[target] = block[source]
        return result

    def _block(self, row: int, column: int) -> np.ndarray:
        block = self.kept.pop((row, column), None)
        if block is None:
            block = self.blocks.read(row, column)
            while self.kept and block.nbytes + sum(each.nbytes for each in self.kept.values()) > self.limit:
                self.kept.popitem(last=False)
        self.kept[row, column] = block
        return block


def _overlap(start: int, length: int, other_start: int, other_length: int) -> slice:
    return slice(max(start, other_start), min(start + length, other_start + other_length))


class _NpyWindows:
    """Reads the rows of a window from the file; a memory map would count as memory of the process."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        with open_image_file(path) as file:
            shape, self.offset = self._header(file)
            if file.seek(0, os.SEEK_END) < self.offset + math.prod(shape):
                raise DecodeError(self.path, "truncated", "is cut short: the file ends too early; get it again.")
        self.size: tuple[int, int] = (shape[0], shape[1])
        self.channels = 3 if len(shape) == 3 else 1

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See `WindowedImage`."""
        result = np.empty((height, width, 3), np.uint8)
        with open_image_file(self.path) as file:
            for row in range(height):
                start = ((top + row) * self.size[1] + left) * self.channels
                file.seek(self.offset + start)
                content = file.read(width * self.channels)
                result[row] = np.frombuffer(content, np.uint8).reshape(width, self.channels)
        return result

    def _header(self, file: BinaryIO) -> tuple[tuple[int, ...], int]:
        """The shape, and the position of the first pixel."""
        try:
            version = np.lib.format.read_magic(file)
            readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, is_fortran, dtype = readers[version](file)
        except Exception as error:  # NumPy's parser raises errors of many kinds
            raise DecodeError(
                self.path, "truncated", f"has a damaged header ({short_reason(error)}); get it again."
            ) from error
        is_image = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
        if dtype != np.uint8 or is_fortran or not is_image or min(shape) < 1:
            reason = f"is an array {shape} of {dtype}; an image is uint8, (H, W, 3) or (H, W), in the order of C."
            raise DecodeError(self.path, "unsupported", reason)
        return shape, file.tell()
