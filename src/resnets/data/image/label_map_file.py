"""Write a map of labels row by row, so that one of any size never has to be in memory."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from resnets import atomic_write
from resnets.errors import UserError

TILE = 256  # pixels of a side; TIFF asks for a multiple of 16
SOFTWARE = "resnets"  # the text of this name in a file
_LEVEL = 6  # of zlib
_TYPES = {"B": 2, "H": 3, "L": 4}  # ASCII, SHORT and LONG


class LabelMapFile:
    """A tiled TIFF that rows are written to, from the first to the last: tiles of 256x256, compressed by zlib, and the
    directory at the end (TIFF 6.0).
    """

    def __init__(self, file: BinaryIO, size: tuple[int, int], colors: Sequence[tuple[int, int, int]]) -> None:
        self.file, self.size, self.colors, self.num_written = file, size, colors, 0
        self.file.write(struct.pack("<2sHL", b"II", 42, 0))  # the offset of the directory is written at last
        self.waiting = np.empty((0, size[1]), np.uint8)  # rows of tiles that are not complete
        self.tiles: list[tuple[int, int]] = []  # offset and number of bytes of each

    def write(self, rows: np.ndarray) -> None:
        """Write the next rows, uint8 (n, width)."""
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != self.size[1]:
            raise ValueError(f"rows of {rows.dtype} {rows.shape} for a map of {self.size}")
        self.num_written += len(rows)
        if self.num_written > self.size[0]:
            raise ValueError(f"{self.num_written} rows for a map of {self.size}")
        rows = np.concatenate([self.waiting, rows])
        whole = len(rows) // TILE * TILE
        for top in range(0, whole, TILE):
            self._write_tiles(rows[top : top + TILE])
        self.waiting = rows[whole:].copy()

    def end(self) -> None:
        """Complete the file; all rows have been written."""
        if self.num_written != self.size[0]:
            raise ValueError(f"{self.num_written} of {self.size[0]} rows were written")
        if len(self.waiting):
            self._write_tiles(self.waiting)
        self._write_directory()

    def _write_tiles(self, rows: np.ndarray) -> None:
        for left in range(0, self.size[1], TILE):
            part = rows[:, left : left + TILE]
            tile = np.zeros((TILE, TILE), np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            content = zlib.compress(tile.tobytes(), _LEVEL)
            self.tiles.append((self.file.tell(), len(content)))
            self.file.write(content)

    def _write_directory(self) -> None:
        offsets, lengths = zip(*self.tiles, strict=True)
        if self.file.tell() + 16 * len(offsets) >= 1 << 32:
            raise UserError("The map of labels is too large: a TIFF has at most 4 GB.")
        height, width = self.size
        entries: list[tuple[int, str, Sequence[int]]] = [
            *((256, "L", [width]), (257, "L", [height]), (258, "H", [8]), (259, "H", [8])),  # width, height, bits, zlib
            *((262, "H", [3 if self.colors else 1]), (277, "H", [1])),  # palette or gray, one sample
            (305, "B", f"{SOFTWARE}\0".encode()),
            *((322, "L", [TILE]), (323, "L", [TILE]), (324, "L", offsets), (325, "L", lengths)),
        ]
        if self.colors:
            table = np.zeros((256, 3), np.uint16)
            table[: len(self.colors)] = np.array(self.colors, np.uint16) * 257
            entries.insert(7, (320, "H", table.T.ravel().tolist()))  # the color map: all reds, all greens, all blues
        if self.file.tell() % 2:
            self.file.write(b"\0")
        start = self.file.tell()
        extra_start = start + 2 + 12 * len(entries) + 4
        directory, extra = struct.pack("<H", len(entries)), b""
        for tag, code, values in entries:
            data = struct.pack(f"<{len(values)}{code}", *values)
            place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<L", extra_start + len(extra))
            extra += data if len(data) > 4 else b""
            directory += struct.pack("<HHL", tag, _TYPES[code], len(values)) + place
        self.file.write(directory + b"\0" * 4 + extra)
        self.file.seek(4)
        self.file.write(struct.pack("<L", start))


@contextlib.contextmanager
def open_label_map(
    path: str | Path, size: tuple[int, int], colors: Sequence[tuple[int, int, int]] = ()
) -> Iterator[LabelMapFile]:
    """A file for a map of (height, width) labels, which appears whole when the block ends.

    Args:
        colors: of the labels from 0 on, for the palette; without, the image is gray.

    Raises:
        UserError: the file cannot be written, or would have more than 4 GB.
        JobError: the disk is full.
    """
    with atomic_write.replace_file(path) as temporary, open(temporary, "wb") as file:
        target = LabelMapFile(file, size, colors)
        yield target
        target.end()
