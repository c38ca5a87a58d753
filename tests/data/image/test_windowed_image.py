"""Windows of TIFF and .npy against the whole image, decoded by Pillow or tifffile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from resnets.data.image import tiff_blocks
from resnets.data.image.decode import decode
from resnets.data.image.open_image_file import DecodeError
from resnets.data.image.windowed_image import is_windowed, open_windows

HEIGHT, WIDTH = 137, 203


def photo(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width, 3): smooth colors, so that JPEG keeps them."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + y / 29), np.cos(x / 23 - y / 11), np.sin(y / 19)]
    return np.round(np.dstack(waves) * 120 + 128).astype(np.uint8)


def windows_of(height: int, width: int, side: int = 50) -> Iterator[tuple[int, int, int, int]]:
    """Overlapping windows, the last ones at the edges."""
    for top in (*range(0, height - side, 37), height - side):
        for left in (*range(0, width - side, 41), width - side):
            yield top, left, side, side


def check_windows(path: Path, expected: np.ndarray, tolerance: int = 0) -> None:
    image = open_windows(path)
    assert image.size == expected.shape[:2]
    for top, left, height, width in (*windows_of(*image.size), (0, 0, *image.size), (5, 7, 1, 3)):
        found = image.read(top, left, height, width)
        assert found.dtype == np.uint8
        difference = found.astype(int) - expected[top : top + height, left : left + width]
        assert np.abs(difference).max() <= tolerance


COMPRESSIONS: dict[str, dict[str, object]] = {
    "none": {},
    "zlib": {"compression": "zlib"},
    "zlib with predictor": {"compression": "zlib", "predictor": True},
    "lzw with predictor": {"compression": "lzw", "predictor": True},
    "packbits": {"compression": "packbits"},
}
LAYOUTS: dict[str, dict[str, object]] = {
    "tiles": {"tile": (64, 48)},
    "strips": {"rowsperstrip": 20},
    "one strip": {"rowsperstrip": HEIGHT},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_windows_of_a_tiff(tmp_path: Path, layout: str, compression: str) -> None:
    path, pixels = tmp_path / "a.tif", photo()
    tifffile.imwrite(path, pixels, photometric="rgb", **LAYOUTS[layout], **COMPRESSIONS[compression])
    check_windows(path, pixels)


@pytest.mark.parametrize(("byteorder", "bigtiff"), [("<", True), (">", False)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_other_orders_of_bytes_and_files_beyond_4_gb(
    tmp_path: Path, byteorder: str, bigtiff: bool, compression: str | None
) -> None:
    path = tmp_path / "a.tif"
    gray = photo()[..., 0].astype(np.uint16) * 257
    tifffile.imwrite(path, gray, tile=(64, 48), byteorder=byteorder, bigtiff=bigtiff, compression=compression)
    check_windows(path, np.repeat(photo()[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["gray", "palette", "transparent", "white is 0"])
def test_colors_are_those_of_the_whole_image(tmp_path: Path, kind: str) -> None:
    path, pixels = tmp_path / "a.tif", photo()
    if kind == "gray":
        tifffile.imwrite(path, pixels[..., 0], tile=(64, 48))
    elif kind == "palette":
        colors = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype=np.uint16)
        tifffile.imwrite(path, pixels[..., 0], tile=(64, 48), photometric="palette", colormap=colors)
    elif kind == "transparent":
        rgba = np.dstack([pixels, pixels[..., 0]])
        tifffile.imwrite(path, rgba, tile=(64, 48), photometric="rgb", extrasamples=["unassalpha"])
    else:
        tifffile.imwrite(path, pixels[..., 0], tile=(64, 48), photometric="miniswhite")
    check_windows(path, decode(path))


@pytest.mark.parametrize("layout", ["tiles", "strips"])
def test_jpeg_in_a_tiff(tmp_path: Path, layout: str) -> None:
    """With the tables of all tiles in one place, as GDAL and libtiff write them."""
    path, size = tmp_path / "a.tif", {"tile": (64, 48)} if layout == "tiles" else {"rowsperstrip": 16}
    tifffile.imwrite(path, photo(), photometric="rgb", compression="jpeg", compressionargs={"level": 95}, **size)
    check_windows(path, tifffile.imread(path), tolerance=3)
    check_windows(path, decode(path))


def test_windows_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", photo())
    check_windows(tmp_path / "a.npy", photo())
    np.save(tmp_path / "gray.npy", photo()[..., 0])
    check_windows(tmp_path / "gray.npy", np.repeat(photo()[..., :1], 3, axis=2))
    assert is_windowed(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "array",
    [photo().astype(np.float32), photo().transpose(2, 0, 1), np.asfortranarray(photo()), np.zeros((0, 5), np.uint8)],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DecodeError, match=r"a\.npy' is an array .* an image is uint8"):
        open_windows(tmp_path / "a.npy")


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DecodeError, match="of object"):
        open_windows(tmp_path / "a.npy")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), photometric="rgb", tile=(64, 48))
    np.save(tmp_path / "a.npy", photo())
    for file in (path, tmp_path / "a.npy"):
        file.write_bytes(file.read_bytes()[:-5000])
        with pytest.raises(DecodeError, match=rf"{file.name}' is cut short"):
            open_windows(file)
    for header in (b"nonsense        ", b"{'descr': ((((  ", b"{1: 2, 'a': [}  "):
        (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01\0\x10\0" + header)
        with pytest.raises(DecodeError, match=r"b\.npy' has a damaged header"):
            open_windows(tmp_path / "b.npy")


def test_what_cannot_be_read_in_parts_says_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_blocks, "MAX_PIXELS", 10_000)
    tifffile.imwrite(tmp_path / "a.tif", photo(), photometric="rgb", rowsperstrip=HEIGHT, compression="zlib")
    with pytest.raises(DecodeError, match="Write it as a tiled TIFF"):
        open_windows(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", photo().transpose(2, 0, 1), planarconfig="separate", photometric="rgb")
    with pytest.raises(DecodeError, match="plane of its own"):
        open_windows(tmp_path / "b.tif")
    photograph = tmp_path / "c.png"
    tifffile.imwrite(tmp_path / "d.tif", photo(), photometric="rgb")
    photograph.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert not is_windowed(photograph)
    assert not is_windowed(tmp_path / "d.tif")  # it is small, and decoded as a whole


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_memory_does_not_grow_with_the_image(tmp_path: Path, suffix: str) -> None:
    """48 million bytes of pixels are read by windows, with 4 million kept."""
    path, side = tmp_path / f"a{suffix}", 4096
    if suffix == ".npy":
        with open(path, "wb") as file:  # the pixels of a file of holes are 0
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (side, side, 3)}
            )
            file.truncate(file.tell() + side * side * 3)
    else:
        tile = photo(256, 256)
        tifffile.imwrite(
            path, (tile for _ in range((side // 256) ** 2)), shape=(side, side, 3), dtype="uint8", tile=(256, 256),
            photometric="rgb", compression="zlib", compressionargs={"level": 1},
        )  # fmt: skip
    image = open_windows(path)
    image.read(0, 0, 512, 512)
    if suffix == ".tif":
        image.limit = 2**22  # type: ignore[attr-defined]
    before = largest = resident_bytes()
    for top in range(0, side, 512):
        for left in range(0, side, 512):
            image.read(top, left, 512, 512)
            largest = max(largest, resident_bytes())
    assert largest - before < 12_000_000
