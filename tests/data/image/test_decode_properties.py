"""Whatever the bytes are: pixels, or one DecodeError."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.in_soak import IN_SOAK

from resnets.data.image.decode import DecodeError, decode, inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's remarks on odd metadata

MOST = 1_000_000  # pixels, so that no case takes long
KINDS = {"empty", "not-an-image", "truncated", "bomb", "unsupported"}
QUICK = settings(max_examples=150 if IN_SOAK else 50, suppress_health_check=[HealthCheck.too_slow])


def _sound() -> dict[str, bytes]:
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (24, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {
        "jpeg": (image, "JPEG", {"exif": exif}),
        "progressive": (image, "JPEG", {"progressive": True}),
        "cmyk": (image.convert("CMYK"), "JPEG", {}),
        "png": (image, "PNG", {"exif": exif}),
        "palette": (image.convert("P"), "PNG", {"transparency": 3}),
        "sixteen": (Image.fromarray(random.integers(0, 65536, (24, 30), dtype=np.uint16)), "PNG", {}),
        "rgba": (image.convert("RGBA"), "PNG", {}),
        "gif": (image, "GIF", {"save_all": True, "append_images": [image.rotate(90)]}),
        "webp": (image, "WEBP", {"lossless": True}),
        "tiff": (image, "TIFF", {"compression": "tiff_lzw"}),
        "tiff_deflate": (image, "TIFF", {"compression": "tiff_adobe_deflate", "exif": exif}),
        "bmp": (image, "BMP", {}),
        "ppm": (image, "PPM", {}),
    }
    found = {}
    for name, (image, kind, options) in made.items():
        file = io.BytesIO()
        image.save(file, kind, **options)
        found[name] = file.getvalue()
    return found


SOUND = _sound()


def judge(content: bytes) -> bool:
    """Decode; whether that gave pixels. Anything but pixels or a proper error fails the test."""
    try:
        pixels = decode(content, name="case", max_pixels=MOST)
    except DecodeError as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.kind in KINDS
        assert str(refused).startswith("'case' ")
        assert "\n" not in str(refused)
        return False
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert 0 < pixels.shape[0] * pixels.shape[1] <= MOST
    return True


@given(st.binary(max_size=300))
@QUICK
def test_any_bytes(content):
    judge(content)


@pytest.mark.parametrize("name", SOUND)
@given(data=st.data())
@QUICK
def test_a_sound_file_with_other_bytes_in_it(name, data):
    content = bytearray(SOUND[name])
    for _ in range(data.draw(st.integers(1, 6))):
        # The beginning, where the sizes and offsets stand, as often as all the rest.
        end = min(len(content), 200) if data.draw(st.booleans()) else len(content)
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    judge(bytes(content))


@pytest.mark.parametrize("name", SOUND)
@given(fraction=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=40))
@QUICK
def test_a_truncated_file_with_other_bytes_after_it(name, fraction, tail):
    judge(SOUND[name][: int(fraction * len(SOUND[name]))] + tail)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_is_read_and_its_header_agrees(name):
    assert judge(SOUND[name])
    info, pixels = inspect(SOUND[name]), decode(SOUND[name])
    turned = info.orientation in (5, 6, 7, 8)
    assert pixels.shape[:2] == ((info.width, info.height) if turned else (info.height, info.width))


@given(
    width=st.integers(1, 90), height=st.integers(1, 90), orientation=st.integers(1, 8), side=st.integers(1, 64),
)  # fmt: skip
@QUICK
def test_a_scaled_jpeg_never_falls_below_what_was_asked_for(width, height, orientation, side):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (width * 4, height * 4), (9, 99, 199)).save(file, "JPEG", exif=exif)
    found = decode(file.getvalue(), min_side=side)
    assert min(found.shape[:2]) >= min(side, 4 * min(width, height))
    tall, wide = (
        found.shape[0] >= found.shape[1],
        found.shape[0] <= found.shape[1],
    )  # both, where rounding makes them equal
    assert width == height or (tall if (height > width) != (orientation > 4) else wide)
