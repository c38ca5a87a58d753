"""Files of too many parts are refused before Pillow reads them, and what Pillow writes is not."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resnets.data.image.open_image_file import DecodeError
from resnets.serve import container_limits

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
OPTIONS = st.fixed_dictionaries({
    "quality": st.integers(1, 100), "progressive": st.booleans(), "comment": st.binary(max_size=60_000),
    "icc_profile": st.binary(min_size=1, max_size=200_000), "restart_marker_blocks": st.integers(0, 3),
})  # fmt: skip


def written(kind: str, side: int, mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS[:side]).convert(mode).save(out, kind, **options)
    return out.getvalue()


JPEG, GIF = written("JPEG", 8), written("GIF", 8)


@settings(max_examples=40)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "PPM", "WEBP", "BMP", "TIFF"]), st.integers(1, 64), OPTIONS)
def test_what_pillow_writes_is_accepted(kind: str, side: int, options: dict[str, Any]) -> None:
    content = written(kind, side, **options)
    for cut in (len(content), len(content) // 2, 20):
        container_limits.check(content[:cut] + b"\0" * 2000 if cut == len(content) else content[:cut], "image")


@pytest.mark.parametrize("mode", ["1", "L"])
def test_the_kinds_of_pnm_are_accepted(mode: str) -> None:
    content = Image.new(mode, (800, 800))
    out = io.BytesIO()
    content.save(out, "PPM")
    container_limits.check(out.getvalue(), "image")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (JPEG[:2] + b"\xff\xfe\0\2" * 1001 + JPEG[2:], "more than 1,000 segments"),
        (JPEG[:2] + b"\xff\xd9" + b"\xff\xfe\0\2" * 1001 + JPEG[2:], "more than 1,000 segments"),
        (JPEG[:2] + b"\xff\xd8" * 1001 + JPEG[2:], "more than 1,000 segments"),
        (JPEG[:2] + b"\xff\xfe\0\2" + b"a" * 1001 + JPEG[2:], "more than 1,000 segments, or bytes between them"),
        (JPEG[:2] + b"\xff\xfe\0\2" + b"\xff" * 1001 + JPEG[2:], "more than 1,000 segments, or bytes between them"),
        (JPEG[:2] + b"\xff\xd0" * 1001, "no image within its segments"),
        (JPEG[:-2] + b"\xff\xda\0\2a" * 101 + JPEG[-2:], "more than 100 scans"),
        (b"\x89PNG\r\n\x1a\n" + (struct.pack(">I", 0) + b"tEXt" + bytes(4)) * 10_001, "more than 10,000 chunks"),
        (GIF[:6] + bytes(7) + b"!\xfe\1a\0" * 10_001, "more than 10,000 blocks"),
        (GIF[:6] + bytes(7) + b"!\xfe" + b"\1a" * 10_001, "more than 10,000 blocks"),
        (GIF[:6] + bytes(7) + b"\0" * 10_001, "more than 10,000 blocks"),
        (b"II*\0" + struct.pack("<IH", 8, 1001) + bytes(12) * 1001, "more than 1,000 entries"),
        (b"MM\0*" + struct.pack(">IH", 8, 1001) + bytes(12) * 1001, "more than 1,000 entries"),
        (b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 10**6) + bytes(20) * 1001, "more than 1,000 entries"),
        (b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, 1001) + bytes(20) * 1001, "more than 1,000 entries"),
        (b"P6 8" + b" " * 2**16 + b"8 255 ", "a header of more than 65,536 bytes"),
        (b"P3 512 512 3 " + b"1 " * 2**20, "its pixels as text, and more than 1,048,576 bytes"),
        (b"P4 8\n#" + b"8 " * 2**16 + b"\n8 ", "a header of more than 65,536 bytes"),
    ],
)  # fmt: skip
def test_files_of_too_many_parts_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason) as caught:
        container_limits.check(content, "image")
    assert caught.value.kind == "bomb"


@settings(max_examples=60)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"P5 ", b"II*\0", b"MM\0+", b""]),
    st.binary(max_size=400),
)
def test_damage_is_left_to_pillow(start: bytes, rest: bytes) -> None:
    container_limits.check(start + rest, "image")
