"""The numbers in a mask arrive as they are stored, whatever the form of the file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from resnets.data.image.decode_mask import decode_mask
from resnets.errors import ImageError

NUMBERS = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)


def save_gray_png(path: Path, bits: int) -> None:
    """A gray PNG of 1, 2, 4, 8 or 16 bits a pixel, by the specification; Pillow writes no 2 and 4 bits."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = NUMBERS.shape
    rows = ["".join(f"{number % (1 << bits):0{bits}b}" for number in row) for row in NUMBERS.tolist()]
    packed = [int(row.ljust(-len(row) // 8 * -8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows]
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in packed))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b""))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_gray_of_any_bits(tmp_path: Path, bits: int) -> None:
    save_gray_png(tmp_path / "a.png", bits)
    found = decode_mask(tmp_path / "a.png")
    assert found.dtype == (np.int32 if bits == 16 else np.uint8)
    assert np.array_equal(found, NUMBERS & ((1 << min(bits, 8)) - 1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_tiff_of_any_bits(tmp_path: Path, bits: int, photometric: str) -> None:
    """The numbers that are stored, whether 0 is black or white."""
    numbers = NUMBERS & ((1 << min(bits, 8)) - 1)
    array = numbers.astype(bool) if bits == 1 else numbers.astype(np.uint16 if bits == 16 else np.uint8)
    bits_argument = {"bitspersample": bits} if bits in (2, 4) else {}
    for compression in (None,) if bits_argument else (None, "zlib"):
        tifffile.imwrite(tmp_path / "a.tif", array, photometric=photometric, compression=compression, **bits_argument)
        assert np.array_equal(decode_mask(tmp_path / "a.tif"), numbers)


@pytest.mark.parametrize("most", [1, 3, 11, 255, 300, 65535])
def test_a_pgm_with_any_largest_number(tmp_path: Path, most: int) -> None:
    numbers = np.minimum(NUMBERS.astype(np.int64), most).astype(">u2" if most > 255 else np.uint8)
    (tmp_path / "a.pgm").write_bytes(b"P5 4 2 %d\n" % most + numbers.tobytes())
    assert np.array_equal(decode_mask(tmp_path / "a.pgm"), numbers)
    (tmp_path / "b.pgm").write_text(f"P2 4 2 {most}\n" + " ".join(map(str, numbers.ravel().tolist())))
    assert np.array_equal(decode_mask(tmp_path / "b.pgm"), numbers)


def test_a_palette_is_not_applied_unless_colors_are_asked_for(tmp_path: Path) -> None:
    image = Image.fromarray(NUMBERS)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    image.save(tmp_path / "a.png")
    assert np.array_equal(decode_mask(tmp_path / "a.png"), NUMBERS)
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 8, 7)], np.uint8)
    assert np.array_equal(decode_mask(tmp_path / "a.png", as_colors=True), colors[NUMBERS])


def test_red_green_and_blue_are_a_number_if_they_are_equal(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA", "LA"):
        Image.fromarray(NUMBERS).convert(mode).save(tmp_path / "a.png")
        assert np.array_equal(decode_mask(tmp_path / "a.png"), NUMBERS)
    pixels = np.repeat(NUMBERS[..., None], 3, axis=2)
    pixels[0, 0, 1] = 9
    Image.fromarray(pixels).save(tmp_path / "b.png")
    with pytest.raises(ImageError, match="colors where each pixel of a mask should have one number"):
        decode_mask(tmp_path / "b.png")
    assert np.array_equal(decode_mask(tmp_path / "b.png", as_colors=True), pixels)


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    Image.fromarray(NUMBERS.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="not whole"):
        decode_mask(tmp_path / "a.tif")
    Image.fromarray(np.array([[-1, 2]], np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(ImageError, match="negative"):
        decode_mask(tmp_path / "b.tif")
    Image.fromarray(np.dstack([NUMBERS] * 4)).save(tmp_path / "c.png")
    for as_colors in (False, True):
        with pytest.raises(ImageError, match="transparent"):
            decode_mask(tmp_path / "c.png", as_colors=as_colors)
    with pytest.raises(ImageError, match="does not exist"):
        decode_mask(tmp_path / "d.png")
