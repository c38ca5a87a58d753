"""Formats are known by their content, and what is no image is named with the reason."""

from __future__ import annotations

import base64
import gzip
import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from resnets.data.image.decode import DecodeError, decode, inspect
from resnets.data.image.formats import SUFFIXES, is_image, is_image_head

_FILE = io.BytesIO()
Image.new("RGB", (48, 32), (200, 40, 90)).save(_FILE, "JPEG")
JPEG = _FILE.getvalue()

_ENTRIES = [(256, 8), (257, 8), (259, 1), (262, 1), (273, 200), (277, 13), (278, 8), (279, 832)]
BANDS = struct.pack("<2sHIH", b"II", 42, 8, len(_ENTRIES)) + b"".join(
    struct.pack("<HHII", key, 3, 1, value) for key, value in _ENTRIES
)
OTHER = [
    ("satellite.tif", BANDS + bytes(1000), "unsupported", "more channels than red, green, blue"),
    ("text.jpg", b"this is no image", "not-an-image", "its text begins 'this is no image'"),
    ("page.png", b"<!DOCTYPE html><html>404</html>", "not-an-image", "failed download"),
    ("drawing.png", b'<?xml version="1.0"?><svg/>', "not-an-image", "web page or XML"),
    ("empty.jpg", b"", "empty", r"0 bytes"),
    ("noise.jpg", b"\x01\x02\x03\x04\xfe\xff\x00\x00", "not-an-image", "01 02 03 04 fe ff 00 00"),
    ("new.jpg", b"\0\0\0\x1cftypavif\0\0\0\0avif", "truncated", "AVIF"),
    ("sequence.jpg", b"\0\0\0\x18ftypavis" + bytes(80), "truncated", "AVIF"),
    ("xl.jpg", b"\xff\x0a\x00\x00", "unsupported", "JPEG XL"),
    ("2000.jpg", b"\0\0\0\x0cjP  \r\n\x87\n", "truncated", "JPEG 2000"),
    ("layers.jpg", b"8BPS\0\x01", "unsupported", "Photoshop"),
    ("film.jpg", b"\0\0\0\x18ftypisom" + bytes(80), "unsupported", "a video"),
    (
        "lfs.jpg",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "not-an-image",
        "Git LFS .* 'git lfs pull'",
    ),
    ("packed.jpg", gzip.compress(JPEG), "unsupported", "is a gzip archive"),
    ("zeros.jpg", bytes(500), "not-an-image", "00 00 00 00"),
    ("head.png", b"\x89PNG\r\n\x1a\n" + bytes(20), "truncated", "header"),
]


@pytest.mark.parametrize(("name", "content", "kind", "words"), OTHER, ids=[each[0] for each in OTHER])
@pytest.mark.parametrize("read", [decode, inspect])
def test_what_is_not_an_image_is_an_error_with_its_reason(name, content, kind, words, read, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=words) as caught:
        read(path)
    assert (caught.value.kind, caught.value.path) == (kind, str(path))
    assert "\n" not in str(caught.value)


# 40x24 pixels, red beside blue, turned by its container; written with pillow-heif.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAcdtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB6wABAAAAAAAAAEgAAgAAAAACMwABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABBmlwcnAAAADlaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGE"
    "ABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAA"
    "ABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAKAAAAAEAAAAYAAAAAf///+gAAAAC////2AAAAAIAAAAQcG"
    "l4aQAAAAADCAgIAAAACWlyb3QDAAAAGWlwbWEAAAAAAAAAAQABBoECAwWEhgAAABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAdG1kYXQAAABE"
    "KAGvUhqRxIDm/Oq//5OV//FJkPV7ODT6cyUZj+mBtFnTY18v5dI8j302PNgfiXgqDRSuZQAtr6wcFKLlLcIVmh3iOZgAAAAGRXhpZgAATU0AKg"
    "AAAAgAAQESAAMAAAABAAYAAAAAAAA="
)


def test_heic_is_read_where_its_library_is_installed_and_nothing_is_registered():
    pytest.importorskip("pi_heif")
    image = decode(HEIC)
    assert image.shape == (40, 24, 3)
    assert np.abs(image[3, 3].astype(int) - (250, 10, 10)).max() < 8
    assert np.abs(image[-3, -3].astype(int) - (10, 10, 250)).max() < 8
    assert inspect(HEIC).format == "HEIF"
    with pytest.raises(DecodeError, match="damaged"):
        decode(HEIC[:-60])
    assert ".heic" not in Image.registered_extensions()


def test_without_the_library_of_heic_the_message_says_what_to_install(tmp_path):
    for number, brand in enumerate((b"heic", b"hevc", b"msf1", b"mif1")):
        (tmp_path / f"{number}.jpg").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(80))
    code = (
        "import sys; sys.modules['pi_heif'] = None\n"
        "from resnets.data.image.decode import DecodeError, decode\n"
        "from resnets.data.image.formats import SUFFIXES\n"
        "assert '.heic' not in SUFFIXES and '.avif' in SUFFIXES\n"
        "for path in sys.argv[1:]:\n"
        "    try: decode(path)\n"
        "    except DecodeError as error: print(error.kind, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, tmp_path.iterdir())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    for line in done.stdout.splitlines():
        assert line.startswith("unsupported ")
        assert "HEIC" in line
        assert "pip install 'resnets[heic]'" in line


@pytest.mark.parametrize("name", ["a.jp2", "a.avif", "a.tga", "a.dib", "a.bmp.dib", "a.jpe", "a.pbm"])
def test_the_less_common_formats_are_read(name, tmp_path):
    there = Image.fromarray(np.full((20, 30, 3), (200, 40, 90), np.uint8))
    kind = {"a.jpe": "JPEG", "a.bmp.dib": "BMP"}.get(name)
    (there.convert("1") if name == "a.pbm" else there).save(tmp_path / name, format=kind)
    image = decode(tmp_path / name)
    assert image.shape == (20, 30, 3)
    if name != "a.pbm":
        assert np.abs(image.astype(int) - (200, 40, 90)).max() <= 4
    assert (tmp_path / name).suffix in SUFFIXES


def test_an_image_is_recognized_by_its_first_bytes(tmp_path):
    (tmp_path / "a").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_text("text")
    assert is_image_head(JPEG[:64])
    assert [is_image(tmp_path / name) for name in ("a", "b.jpg", "gone.jpg")] == [True, False, False]
