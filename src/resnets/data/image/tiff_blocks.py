"""The tiles or strips of a TIFF, each decoded by itself, so that a large image never has to be in memory."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags
from PIL.TiffImagePlugin import TiffImageFile

from resnets.data.image.decode import MAX_PIXELS, decode, decode_errors, opened
from resnets.data.image.open_image_file import DecodeError, open_image_file

_TAGS = ExifTags.Base
# Tags that decide what the bytes of a tile mean; TIFF 6.0, and its supplements for JPEG, 338 and 339 for what channels mean.
_KEPT: tuple[int, ...] = (
    _TAGS.BitsPerSample,
    _TAGS.Compression,
    _TAGS.PhotometricInterpretation,
    _TAGS.SamplesPerPixel,
)
_KEPT += (_TAGS.FillOrder, _TAGS.Predictor, _TAGS.ColorMap, _TAGS.JPEGTables, 338, 339, 530, 532)
_UNCOMPRESSED = 1
_ANY_NUMBER = 1 << 40  # of pixels
_ROWS = 64  # of an uncompressed strip that are read at a time


class TiffBlocks:
    """The blocks of a TIFF in a grid: its tiles, or its strips, which are as wide as the image.

    Attributes:
        size: (height, width) of the image in pixels.
        block: (height, width) of a block; those at the right and lower edge may reach beyond the image.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises DecodeError: it is no TIFF, is damaged, or is not stored in blocks that can be decoded one by one."""
        self.path = str(path)
        with opened(path, None, _ANY_NUMBER) as (image, _):
            if not isinstance(image, TiffImageFile):
                raise self._error("is no TIFF; large images are read from tiled TIFF and .npy files.")
            tags = dict(image.tag_v2)
            self.order = ">" if image.tag_v2.prefix == b"MM" else "<"
            self.entries = {int(tag): image.tag_v2.tagtype[tag] for tag in _KEPT if tag in tags}
        self.values = {tag: tags[tag] for tag in self.entries}
        with decode_errors(self.path, _ANY_NUMBER, "is a TIFF that has a damaged directory"):
            self.size = int(tags[_TAGS.ImageLength]), int(tags[_TAGS.ImageWidth])
            self._check(tags)
            self.block, self.offsets, self.lengths = self._blocks(tags)
            _write(self.order, self._entries(1, 0), b"")
        with open_image_file(path) as file:
            end = file.seek(0, os.SEEK_END)
        if max(map(sum, zip(self.offsets, self.lengths, strict=True))) > end or min(*self.offsets, *self.lengths) < 0:
            raise DecodeError(self.path, "truncated", "is cut short: the file ends too early; get it again.")
        if self.block[0] * self.block[1] > MAX_PIXELS:
            raise self._error(
                f"is stored in parts of {self.block[1]}x{self.block[0]} pixels; at most {MAX_PIXELS:,} are read at a time. Write "
                "it as a tiled TIFF."
            )

    def read(self, row: int, column: int) -> np.ndarray:
        """uint8 (h, w, 3): block number `column` in row number `row` of the grid, without what is beyond the image."""
        height, width = (
            min(side, total - index * side)
            for side, total, index in zip(self.block, self.size, (row, column), strict=True)
        )
        number = row * -(-self.size[1] // self.block[1]) + column
        with open_image_file(self.path) as file:
            pixels = decode(self._file_of(file, number, height), name=self.path)
        return pixels[:height, :width]

    def _blocks(self, tags: dict[int, object]) -> tuple[tuple[int, int], tuple[int, ...], tuple[int, ...]]:
        """The size, the offsets and the lengths in bytes of the blocks."""
        height, width = self.size
        if _TAGS.TileOffsets in tags:
            block = int(tags[_TAGS.TileLength]), int(tags[_TAGS.TileWidth])  # type: ignore[call-overload]
            names = _TAGS.TileOffsets, _TAGS.TileByteCounts
        else:
            block = min(int(tags.get(_TAGS.RowsPerStrip, height)), height), width  # type: ignore[call-overload]
            names = _TAGS.StripOffsets, _TAGS.StripByteCounts
        offsets, lengths = (tuple(map(int, tags.get(name, ()))) for name in names)  # type: ignore[call-overload]
        if not min(block) > 0 or len(offsets) != len(lengths) or not offsets:
            raise self._error("is a TIFF without the offsets of its parts; get it again.")
        if (
            block == self.size
            and self.values.get(_TAGS.Compression, _UNCOMPRESSED) == _UNCOMPRESSED
            and block[0] > _ROWS
        ):
            block, offsets, lengths = self._cut(offsets[0], lengths[0])
        if len(offsets) != -(-height // block[0]) * -(-width // block[1]):
            raise self._error("is a TIFF that lacks some of its parts; get it again.")
        return block, offsets, lengths

    def _cut(self, offset: int, length: int) -> tuple[tuple[int, int], tuple[int, ...], tuple[int, ...]]:
        """A single uncompressed strip as strips of a few rows."""
        height, width = self.size
        row_bytes = length // height
        starts = range(0, height, _ROWS)
        counts = [min(_ROWS, height - start) * row_bytes for start in starts]
        return (_ROWS, width), tuple(offset + start * row_bytes for start in starts), tuple(counts)

    def _check(self, tags: dict[int, object]) -> None:
        if int(tags.get(_TAGS.PlanarConfiguration, 1)) != 1:  # type: ignore[call-overload]
            raise self._error("has each color in a plane of its own; write the colors of a pixel beside each other.")
        if tags.get(_TAGS.Orientation, 1) != 1:
            raise self._error("is large and has an orientation; write it upright.")

    def _file_of(self, file: BinaryIO, number: int, height: int) -> bytes:
        """A TIFF of one strip, the block of that number: the same bytes with the same tags."""
        file.seek(self.offsets[number])
        content = file.read(self.lengths[number])
        rows = self.block[0] if self.block[1] != self.size[1] else height
        return _write(self.order, self._entries(rows, len(content)), content)

    def _entries(self, rows: int, length: int) -> dict[int, tuple[int, object]]:
        """The type and the value of each entry of the directory of a block with so many rows and bytes."""
        return {tag: (self.entries[tag], value) for tag, value in self.values.items()} | {
            _TAGS.ImageWidth: (4, self.block[1]),
            _TAGS.ImageLength: (4, rows),
            _TAGS.RowsPerStrip: (4, rows),
            _TAGS.StripByteCounts: (4, length),
        }

    def _error(self, reason: str) -> DecodeError:
        return DecodeError(self.path, "unsupported", reason)


def _write(order: str, entries: dict[int, tuple[int, object]], content: bytes) -> bytes:
    """A TIFF of one strip with these entries, each a type and a value or a tuple of values."""
    codes = {1: "B", 3: "H", 4: "L", 6: "b", 7: "B", 8: "h", 9: "l"}
    entries = {**entries, int(_TAGS.StripOffsets): (4, 0)}
    packed: dict[int, tuple[int, int, bytes]] = {}
    for tag, (kind, value) in entries.items():
        if kind == 5:  # fractions
            pairs = [part for each in value for part in each.limit_rational(1 << 31)]  # type: ignore[attr-defined]
            packed[tag] = kind, len(pairs) // 2, struct.pack(f"{order}{len(pairs)}L", *pairs)
            continue
        values = list(value) if isinstance(value, bytes | tuple) else [value]
        packed[tag] = kind, len(values), struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
    after = 8 + 2 + 12 * len(packed) + 4  # the header, the entries and the offset of no further image
    outside = sum(len(data) + len(data) % 2 for _, _, data in packed.values() if len(data) > 4)
    packed[int(_TAGS.StripOffsets)] = 4, 1, struct.pack(f"{order}L", after + outside)
    result = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(f"{order}LH", 8, len(packed))]
    extra = b""
    for tag in sorted(packed):
        kind, count, data = packed[tag]
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}L", after + len(extra))
        extra += data + b"\0" * (len(data) % 2) if len(data) > 4 else b""
        result.append(struct.pack(f"{order}HHL", tag, kind, count) + place)
    return b"".join([*result, b"\0" * 4, extra, content])
