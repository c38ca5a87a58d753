"""Limits for the parts of an image file, before Pillow reads its header.

Pillow reads the header of a file part by part in Python, and keeps each: a file of 20 MB can have millions of them. libjpeg goes
through the whole image for each scan of a progressive JPEG.
"""

from __future__ import annotations

import re
from typing import Literal

from resnets.data.image.open_image_file import DecodeError

MAX_SEGMENTS = 1_000  # of a JPEG; its largest color profile has 255
MAX_SCANS = 100  # of a JPEG; libjpeg writes 10
MAX_STRAY_BYTES = 1_000  # between the segments of a JPEG
MAX_BLOCKS = 10_000  # of a PNG or a GIF; libpng writes 2,500 for 20 MB
MAX_ENTRIES = 1_000  # of a TIFF; those of cameras have some 50
MAX_PNM_HEADER_BYTES = 2**16
MAX_PLAIN_PNM_BYTES = (
    2**20
)  # of numbers in text, which Pillow reads in Python: a second and more for each million bytes

_TIFF = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # as Pillow takes them; the last two are BigTIFF
_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")  # neither a byte 255 of the data, nor a restart, nor padding
_NO_LENGTH = frozenset({0x01, 0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)})  # as Pillow reads them
_START_OF_SCAN, _END = 0xDA, 0xD9
_PNM = re.compile(rb"P[1-6fy]\s")
_PNM_COMMENT = re.compile(rb"#[^\r\n]*(?:[\r\n]|\Z)")


def check(content: bytes, name: str) -> None:
    """Raise DecodeError for a file of too many parts. One that is damaged is left to Pillow."""
    if content.startswith(b"\xff\xd8\xff"):
        what = _jpeg_excess(content)
    elif content.startswith(_PNG):
        what = _png_excess(content)
    elif content.startswith(b"GIF8"):
        what = _gif_excess(content)
    elif content.startswith(_TIFF):
        what = _tiff_excess(content)
    elif _PNM.match(content):
        what = _pnm_excess(content)
    else:
        return
    if what:
        raise DecodeError(name, "bomb", f"has {what}. Save it again with an image editor.")


def _jpeg_excess(content: bytes) -> str:
    position, segments, scans, stray = 2, 0, 0, 0
    while found := _MARKER.search(content, position):
        if not scans:
            stray += found.start() - position
        marker = found[1][0]
        if marker == _END and scans:  # before a scan, Pillow reads on
            break
        segments += 1
        scans += marker == _START_OF_SCAN
        if stray > MAX_STRAY_BYTES or segments > MAX_SEGMENTS:
            return f"more than {MAX_SEGMENTS:,} segments, or bytes between them"
        if scans > MAX_SCANS:
            return f"more than {MAX_SCANS} scans"
        position = found.end()
        if marker not in _NO_LENGTH:  # of a scan it is that of its header
            position += max(int.from_bytes(content[position : position + 2], "big"), 2)
    if not scans and stray + len(content) - position > MAX_STRAY_BYTES and found is None:
        return "no image within its segments"
    return ""


def _png_excess(content: bytes) -> str:
    position, chunks = len(_PNG), 0
    while position < len(content):
        chunks += 1
        if chunks > MAX_BLOCKS:
            return f"more than {MAX_BLOCKS:,} chunks"
        if content[position + 4 : position + 8] == b"IEND":
            break
        position += 12 + int.from_bytes(content[position : position + 4], "big")
    return ""


def _gif_excess(content: bytes) -> str:
    """Until the first image begins, since no other one is read."""
    flags = content[10] if len(content) > 10 else 0
    position, blocks = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
    while position < len(content) and content[position] not in b",;":
        is_extension = content[position] == 0x21
        position += 2 if is_extension else 1
        blocks += 1
        while is_extension and position < len(content) and content[position] and blocks <= MAX_BLOCKS:
            position += 1 + content[position]
            blocks += 1
        position += is_extension  # the empty block at the end of an extension
        if blocks > MAX_BLOCKS:
            return f"more than {MAX_BLOCKS:,} blocks before its image"
    return ""


def _tiff_excess(content: bytes) -> str:
    order: Literal["little", "big"] = "little" if content.startswith(b"II") else "big"
    is_big = b"+" in content[2:4]
    start = int.from_bytes(content[8:16] if is_big else content[4:8], order)
    count = int.from_bytes(content[start : start + (8 if is_big else 2)], order)
    # As many as the file has, if it is cut short.
    entries = min(count, (len(content) - start) // (20 if is_big else 12))
    return f"more than {MAX_ENTRIES:,} entries" if entries > MAX_ENTRIES else ""


def _pnm_excess(content: bytes) -> str:
    if content[:2] in (b"P1", b"P2", b"P3") and len(content) > MAX_PLAIN_PNM_BYTES:
        return f"its pixels as text, and more than {MAX_PLAIN_PNM_BYTES:,} bytes"
    words = _PNM_COMMENT.sub(b" ", content[:MAX_PNM_HEADER_BYTES]).split(maxsplit=4)
    expected = 3 if content[:2] in (b"P1", b"P4") else 4  # the kind, width, height and the largest value
    if len(content) > MAX_PNM_HEADER_BYTES and len(words) < expected:
        return f"a header of more than {MAX_PNM_HEADER_BYTES:,} bytes"
    return ""
