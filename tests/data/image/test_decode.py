"""The decode contract, case by case, on files that are made here."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageFile, ImageOps, features

from resnets.data.image.decode import MAX_PIXELS, DecodeError, ImageInfo, decode, decode_image, inspect
from resnets.errors import UserError


def scene(width: int = 48, height: int = 32) -> np.ndarray:
    """RGB whose four corners differ, without fine detail that a JPEG would lose."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *, depth: int, color: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG put together by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


SCENE = scene()
RGB = Image.fromarray(SCENE)
SOFT = {"quality": 100, "subsampling": 0}


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG"])
def test_every_kind_is_read_by_its_content(kind, tmp_path):
    options = {"WEBP": {"lossless": True}, "JPEG": SOFT}.get(kind, {})
    path = tmp_path / "image.txt"  # the name says nothing
    path.write_bytes(saved(RGB, kind, **options))
    pixels = decode(path)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (32, 48, 3))
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    off = np.abs(pixels.astype(int) - SCENE)
    assert off.max() <= {"JPEG": 4, "GIF": 80}.get(kind, 0)
    assert np.array_equal(decode(path.read_bytes(), name="bytes"), pixels)
    assert inspect(path) == ImageInfo(kind, "P" if kind == "GIF" else "RGB", 48, 32, 1, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_exif_states_is_applied(kind, orientation):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation  # Pillow writes it into an AVIF as its container has it, by a rotation and a reflection
    options = {"WEBP": {"lossless": True}, "JPEG": SOFT, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(kind, {})
    content = saved(RGB, kind, exif=exif, **options)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    if orientation in (6, 8):  # a quarter of a turn, said once more without Pillow
        turned = np.rot90(SCENE, -1 if orientation == 6 else 1)
        assert np.abs(wanted.astype(int) - turned).max() <= 4
    assert np.array_equal(decode(content), wanted)
    found = inspect(content)
    assert (found.width, found.height, found.orientation) == (48, 32, orientation)


@pytest.mark.parametrize("value", [0, 9, 4711])
def test_an_orientation_that_does_not_exist_is_none(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert decode(saved(RGB, "PNG", exif=exif)).shape == (32, 48, 3)


def test_exif_that_is_garbage_is_none():
    assert np.array_equal(decode(saved(RGB, "PNG", exif=b"Exif\0\0garbage")), SCENE)


def test_cmyk_with_and_without_adobes_marker():
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (200, 40, 90, 60)])
    wanted = [(255 - value) * (255 - 60) / 255 for value in (200, 40, 90)]
    marked = saved(cmyk, "JPEG", quality=100)  # Pillow writes what Adobe writes: inverted, with the marker
    assert b"Adobe" in marked
    start = marked.index(b"\xff\xee")
    length = int.from_bytes(marked[start + 2 : start + 4], "big")
    # The same, without the marker, holds plain values only if what is stored is inverted first.
    inverted = saved(ImageChops.invert(cmyk), "JPEG", quality=100)
    plain = inverted[:start] + inverted[start + 2 + length :]
    assert b"Adobe" not in plain
    for content in (marked, plain):
        assert np.abs(decode(content).astype(float) - wanted).max() <= 4, content is plain


def test_cmyk_in_a_tiff():
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (200, 40, 90, 60)])
    wanted = [(255 - value) * (255 - 60) / 255 for value in (200, 40, 90)]
    assert np.abs(decode(saved(cmyk, "TIFF")).astype(float) - wanted).max() <= 1


def test_gray_and_one_bit_become_rgb():
    gray = Image.fromarray(SCENE[..., 0])
    assert np.array_equal(decode(saved(gray, "PNG")), np.repeat(SCENE[..., :1], 3, axis=2))
    bits = gray.convert("1")
    assert np.array_equal(decode(saved(bits, "PNG")), np.asarray(bits.convert("RGB")))


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
def test_what_is_transparent_shows_the_background(background):
    alpha = np.zeros((32, 48), np.uint8)
    alpha[:, 16:32], alpha[:, 32:] = 128, 255
    fraction = alpha[..., None] / 255
    rgba = Image.fromarray(np.dstack([SCENE, alpha]))
    wanted = SCENE * fraction + np.array(background) * (1 - fraction)
    assert np.abs(decode(saved(rgba, "PNG"), background=background) - wanted).max() <= 1
    assert np.abs(decode(saved(rgba, "WEBP", lossless=True, exact=True), background=background) - wanted).max() <= 1
    gray = Image.fromarray(np.dstack([SCENE[..., 0], alpha]))
    wanted = SCENE[..., :1] * fraction + np.array(background) * (1 - fraction)
    assert np.abs(decode(saved(gray, "PNG"), background=background) - wanted).max() <= 1


def test_a_palette_with_a_transparent_color():
    palette = Image.new("P", (4, 2), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 0, 1, 2, 0, 1])
    colors = {0: (255, 0, 0), 1: (9, 8, 7), 2: (0, 0, 255)}
    wanted = np.array([colors[each] for each in (0, 1, 2, 0, 1, 2, 0, 1)], np.uint8).reshape(2, 4, 3)
    for kind in ("PNG", "GIF"):
        assert np.array_equal(decode(saved(palette, kind, transparency=1), background=(9, 8, 7)), wanted), kind
    half = saved(palette, "PNG", transparency=bytes([255, 51, 255]))  # an alpha for each color
    mixed = [0.2 * own + 0.8 * behind for own, behind in zip((0, 255, 0), (9, 8, 7), strict=True)]
    assert np.abs(decode(half, background=(9, 8, 7))[0, 1] - mixed).max() <= 1


def test_a_transparent_color_without_alpha():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (40, 50, 60))
    assert decode(saved(image, "PNG", transparency=(1, 2, 3)), background=(7, 7, 7)).tolist() == [
        [[7] * 3, [40, 50, 60]]
    ]


def test_sixteen_bits_are_scaled_and_rounded_not_clipped():
    values = np.array([[0, 1, 128, 129, 257, 300, 32767, 32768, 65278, 65535]], np.uint16)
    wanted = np.rint(values.astype(float) / 257).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        found = decode(saved(Image.fromarray(values), kind))
        assert np.array_equal(found, np.repeat(wanted[..., None], 3, axis=2)), kind
    maximum = b"P5 10 1 65535\n" + values.astype(">u2").tobytes()
    assert np.abs(decode(maximum)[..., 0].astype(int) - wanted).max() <= 1


def test_sixteen_bit_color_keeps_its_upper_half():
    values = np.array([[[0, 0x12FF, 0xFFFF]]], ">u2")
    content = png(1, 1, depth=16, color=2, rows=b"\0" + values.tobytes())
    assert np.abs(decode(content)[0, 0].astype(int) - (0, 0x12, 0xFF)).max() <= 1


@pytest.mark.parametrize("values", [np.array([[0.5, 1.0]], np.float32), np.array([[-5, 70_000]], np.int32)])
def test_numbers_without_a_stated_range_are_refused(values):
    with pytest.raises(DecodeError, match=r"range is not stated; convert it to 8 or 16 bits") as caught:
        decode(saved(Image.fromarray(values), "TIFF"), name="depth.tif")
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (20, 10), color) for color in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert inspect(content).frames == 3
    assert np.abs(decode(content).astype(int) - (250, 0, 0)).max() <= 5


def test_progressive_jpeg():
    assert np.abs(decode(saved(RGB, "JPEG", progressive=True, **SOFT)).astype(int) - SCENE).max() <= 4


def test_a_jpeg_is_decoded_at_the_smallest_scale_that_suffices():
    content = saved(Image.fromarray(scene(1600, 800)), "JPEG", quality=95)
    sides = {side: decode(content, min_side=side).shape[:2] for side in (801, 800, 399, 201, 200, 100, 50, 1)}
    assert sides == {
        801: (800, 1600), 800: (800, 1600), 399: (400, 800), 201: (400, 800), 200: (200, 400),
        100: (100, 200), 50: (100, 200), 1: (100, 200),
    }  # fmt: skip
    assert decode(saved(Image.fromarray(scene(1600, 800)), "PNG"), min_side=100).shape == (800, 1600, 3)


def test_a_pillow_image_on_request():
    image = decode_image(saved(RGB, "PNG"))
    assert (image.mode, image.size) == ("RGB", (48, 32))


WHOLE = {
    "cut.jpg": saved(RGB, "JPEG", quality=95),
    "cut.png": saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG"),
    "cut.webp": saved(RGB, "WEBP", lossless=True),
    "cut.gif": saved(RGB, "GIF"),
    "cut.bmp": saved(RGB, "BMP"),
    "cut.tif": saved(RGB, "TIFF"),
    "cut.ppm": saved(RGB, "PPM"),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_named(name, fraction, tmp_path):
    content = WHOLE[name]
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(DecodeError) as caught:
        decode(path)
    assert caught.value.kind == "truncated"
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(f"'{path}' ")
    assert "\n" not in str(caught.value)
    assert "bytes not processed" not in str(caught.value)  # Pillow's own words


def test_what_cannot_be_opened(tmp_path):
    cases = {
        tmp_path / "nowhere.jpg": "missing",
        tmp_path: "directory",
        tmp_path / "zero\0byte.jpg": "missing",
        Path("/dev/zero"): "unsupported",
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
        cases[tmp_path / "pipe.jpg"] = "unsupported"
    (tmp_path / "file").touch()
    cases[tmp_path / "file" / "below.jpg"] = "missing"
    for path, kind in cases.items():
        for read in (decode, inspect):
            with pytest.raises(DecodeError) as caught:
                read(path)
            assert caught.value.kind == kind, path
            assert "\n" not in str(caught.value)


def test_a_name_with_line_breaks_stays_on_one_line():
    with pytest.raises(DecodeError) as caught:
        decode(b"", name="a\nb\x1b[31m.jpg")
    assert str(caught.value).startswith(r"'a\nb\x1b[31m.jpg' is empty")
    assert caught.value.path == "a\nb\x1b[31m.jpg"


def test_errors_travel_between_processes():
    error = DecodeError("a.jpg", "empty", "is empty.")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.kind, again.reason) == (str(error), "a.jpg", "empty", "is empty.")
    assert isinstance(again, UserError)


BOMBS = {
    "png": png(60_000, 60_000, depth=8, color=2, rows=b"\0" * 1000),
    "gif": b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + saved(RGB, "GIF")[10:],
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": b"P6 100000 100000 255\n" + bytes(100),
    "webp": b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\x3f\xff\xff\x3f" + bytes(60),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("read", [decode, inspect])
def test_a_header_that_claims_too_much_is_refused(kind, read):
    with pytest.raises(DecodeError) as caught:
        read(BOMBS[kind], name=f"bomb.{kind}")
    assert caught.value.kind == "bomb"
    assert f"at most {MAX_PIXELS:,} are read" in caught.value.reason


def gray_png(side: int) -> bytes:
    """A black square, whole and sound: a thousandth of its pixels in bytes."""
    deflate = zlib.compressobj(9)
    body = b"".join(deflate.compress(bytes(side + 1)) for _ in range(side)) + deflate.flush()
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    return png(side, side, depth=8, color=0, rows=b"")[:33] + chunk + bytes(4) + b"IEND\xaeB`\x82"


# In a process of its own, since the greatest memory of this one may be another test's. Linux: VmHWM is of this program
# only, which ru_maxrss is not.
ALONE = """
import pickle, resource, sys
from resnets.data.image.decode import DecodeError, decode

def memory(key):  # KiB
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))

for name, content, allowed in pickle.load(sys.stdin.buffer):
    if allowed:
        most = memory("VmSize") * 1024 + allowed
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    before = memory("VmHWM")
    try:
        decode(content, name=name)
    except DecodeError as error:
        print(error.kind, memory("VmHWM") - before, error)
"""


def alone(*cases: tuple[str, bytes, int]) -> list[list[str]]:
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, input=pickle.dumps(cases), capture_output=True, check=True, timeout=120)
    return [line.split(maxsplit=2) for line in done.stdout.decode().splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_bomb_costs_no_memory():
    cases = [*BOMBS.items(), ("whole", gray_png(20_000))]
    found = alone(*((name, content, 0) for name, content in cases))
    assert len(found) == len(cases)
    for kind, grown, message in found:
        assert kind == "bomb"
        assert int(grown) < 30_000, message  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_ends_is_an_error_of_the_image():
    """81 megapixels are within the limit: Pillow's image fits here, and its copy of a quarter of a gigabyte does not."""
    [[kind, _, message]] = alone(("large.png", gray_png(9_000), 450 << 20))
    assert kind == "bomb"
    assert message == "'large.png' needs more memory than there is; make it smaller."


def test_the_limit_can_be_lowered():
    content = saved(RGB, "PNG")
    assert decode(content, max_pixels=32 * 48).shape == (32, 48, 3)
    with pytest.raises(DecodeError, match="48x32 = 1,536 pixels"):
        decode(content, max_pixels=32 * 48 - 1)


def test_pillows_load_truncated_images_is_refused(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UserError, match="LOAD_TRUNCATED_IMAGES is on"):
        decode(WHOLE["cut.jpg"][:-50])


def test_pillows_own_limit_changes_nothing(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(decode(saved(RGB, "PNG")), SCENE)
