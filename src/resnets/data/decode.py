"""From the bytes of a picture to RGB: the decode contract, the same in training, evaluation and prediction.

What is promised:

* The orientation that EXIF states is applied.
* Grey, palette and one-bit pictures become RGB; transparent places show the stated background.
* CMYK becomes RGB by (1 - C)(1 - K); a JPEG with Adobe's marker holds inverted values, one without does not.
* 16-bit grey (PNG, TIFF, PGM) is scaled to 8 bits, not clipped. Of 16-bit RGB, Pillow reads the upper 8 bits.
* Of an animation or of several pages, the first counts. Colour profiles are not applied.
* Everything else is a DecodeError that names the file: nothing is guessed, repaired or replaced.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from resnets.errors import UserError

# Pillow warns above this number (a quarter of a gigabyte as RGB); no camera's single picture needs more for a classifier.
MAX_PIXELS = 89_478_485
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".jfif", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# Without "MPO", which Pillow opens as a JPEG and renames; it has no entry of its own.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = (5, 6, 7, 8)  # height and width change places
_opening = threading.Lock()  # Python's list of warning filters belongs to the whole process


class DecodeError(UserError):
    """A picture that cannot be read.

    Attributes:
        path: of the file, or the name that was given for bytes.
        kind: missing, directory, empty, not-a-picture, truncated, bomb or unsupported.
        reason: what was found, without the path.
    """

    def __init__(self, path: str, kind: str, reason: str) -> None:
        super().__init__(f"'{path}' {reason}")
        self.path = path
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[DecodeError], tuple[str, str, str]]:
        return DecodeError, (self.path, self.kind, self.reason)  # errors travel between processes


class PictureInfo(NamedTuple):
    """What a picture's header says; height and width in pixels as they are stored, before `orientation` (1 to 8)."""

    format: str
    mode: str
    width: int
    height: int
    frames: int
    orientation: int


def decode(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read a picture as RGB.

    Args:
        source: a path, or the file's bytes.
        name: what to call bytes in an error.
        background: RGB, 0 to 255, behind transparent places.
        min_side: a JPEG may be decoded at the smallest of 1, 1/2, 1/4 and 1/8 whose shorter side is still as long.
        max_pixels: a header that promises more is refused before any memory is spent.

    Returns:
        uint8 (height, width, 3), contiguous.

    Raises:
        DecodeError: the picture cannot be read.
    """
    with _opened(source, name, max_pixels) as (image, path):
        if min_side is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (min_side, min_side))
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise whatever their format stumbles over
            raise DecodeError(path, "truncated", f"is cut short or damaged ({_short(error)}); get it again.") from error
        return _rgb(_upright(image), path, background)


def inspect(source: str | Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> PictureInfo:
    """Read only the header: quick, and blind to damage further on. Raises as `decode` does."""
    with _opened(source, name, max_pixels) as (image, path):
        try:
            frames = int(getattr(image, "n_frames", 1))
        except Exception as error:
            raise DecodeError(path, "truncated", f"is cut short or damaged ({_short(error)}); get it again.") from error
        return PictureInfo(image.format or "", image.mode, *image.size, frames, _orientation(image))


@contextmanager
def _opened(source: str | Path | bytes, name: str | None, max_pixels: int) -> Iterator[tuple[Image.Image, str]]:
    """The picture with its header read, and its name for errors; the file is closed afterwards."""
    if isinstance(source, bytes):
        path, file = name or "the given bytes", io.BytesIO(source)
    else:
        path = name or str(source)
        file = _file(source, path)  # type: ignore[assignment]
    with file:
        head = file.read(64)
        if not head:
            raise DecodeError(path, "empty", "is empty (0 bytes).")
        file.seek(0)
        try:
            with _opening, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the size is judged below; other oddities show when it is decoded
                image = Image.open(file, formats=_FORMATS)
        except Image.DecompressionBombError as error:
            raise _bomb(path, "more than twice", max_pixels) from error
        except UnidentifiedImageError as error:
            raise _unidentified(path, head) from error
        except Exception as error:
            raise DecodeError(path, "truncated", f"has a damaged header ({_short(error)}); get it again.") from error
        with image:
            width, height = image.size
            if width * height > max_pixels:
                raise _bomb(path, f"{width}x{height} =", max_pixels, width * height)
            yield image, path


def _file(source: str | Path, path: str) -> io.BufferedReader:
    try:
        kind = os.stat(source).st_mode
        if stat.S_ISDIR(kind):
            raise DecodeError(path, "directory", "is a folder, not a picture.")
        if not stat.S_ISREG(kind):  # reading a pipe or a device could wait for ever
            raise DecodeError(path, "unsupported", "is no ordinary file.")
        return open(source, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DecodeError(path, "missing", "does not exist.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise DecodeError(path, "missing", f"cannot be opened ({_short(error)}).") from error


def _unidentified(path: str, head: bytes) -> DecodeError:
    if head.startswith(_SIGNATURES):
        return DecodeError(
            path, "truncated", "begins as a picture, but its header is damaged or cut short; get it again."
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return DecodeError(path, "not-a-picture", "is a web page or XML, not a picture; it may be a failed download.")
    start = head[:24]
    text = start.decode("utf-8", "replace") if all(byte >= 32 or byte in b"\t\n\r" for byte in start) else ""
    found = f"its text begins {text!r}" if text and "\ufffd" not in text else f"its bytes begin {start[:8].hex(' ')}"
    return DecodeError(path, "not-a-picture", f"is no picture that can be read; {found}. Convert it to JPEG or PNG.")


def _bomb(path: str, size: str, max_pixels: int, pixels: int | None = None) -> DecodeError:
    count = f"{size} {pixels:,}" if pixels else f"{size} {max_pixels:,}"
    return DecodeError(path, "bomb", f"claims {count} pixels; at most {max_pixels:,} are read. Make it smaller.")


def _short(error: BaseException) -> str:
    text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
    return " ".join(text.split())[:100] or type(error).__name__


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF that cannot be read states no orientation
        return 1
    return value if value in _TRANSPOSE else 1


def _upright(image: Image.Image) -> Image.Image:
    """The loaded picture as it is meant to be seen; a TIFF was turned by Pillow while it was loaded."""
    if orientation := _TRANSPOSE.get(_orientation(image)):
        turned = image.transpose(orientation)
        turned.info, turned.format = image.info, image.format
        return turned
    return image


def _rgb(image: Image.Image, path: str, background: tuple[int, int, int]) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        wide = np.asarray(image).astype(np.uint32)
        grey = ((wide + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257, to the nearest
        return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
    if mode in ("I", "F", "LAB"):
        words = {"I": "32-bit whole numbers", "F": "floating-point numbers", "LAB": "Lab colours"}[mode]
        raise DecodeError(path, "unsupported", f"holds {words}, whose range is not stated; convert it to 8 or 16 bits.")
    if mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for Adobe's inverted kind
    if image.has_transparency_data or mode in ("RGBa", "La"):
        opaque = image.convert("RGBA")
        canvas = Image.new("RGB", opaque.size, background)
        canvas.paste(opaque, mask=opaque.getchannel("A"))
        image = canvas
    return np.array(image.convert("RGB"), dtype=np.uint8, order="C")
