"""From the bytes of a picture to RGB: the decode contract, the same in training, evaluation and prediction.

What is promised:

* JPEG, PNG, WebP, GIF, TIFF, BMP, PNM, JPEG 2000 and AVIF are read, by their content and whatever the file is called; TGA,
  which has no mark of its own, where the name ends in .tga; HEIC where the library pi-heif is installed.
* The orientation that EXIF states is applied.
* Grey, palette and one-bit pictures become RGB; transparent places show the stated background.
* CMYK becomes RGB by (1 - C)(1 - K); a JPEG with Adobe's marker holds inverted values, one without does not.
* 16-bit grey is scaled to 8 bits and rounded, not clipped; of 16-bit colour, Pillow reads the upper 8 bits.
* Lab becomes sRGB. Whole numbers with a sign, of 32 bits, and floating-point numbers have no stated range: an error.
* Of an animation or of several pages, the first counts. Colour profiles are not applied.
* Everything else is a DecodeError that names the file: nothing is guessed, repaired or replaced.

What no reader built on libjpeg can tell: a JPEG whose middle is damaged, but not cut, decodes to wrong pixels.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import importlib.util
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile, DibImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from resnets.data import colour
from resnets.data.files import DecodeError, opened, short
from resnets.errors import LFS, LFS_POINTER, UserError

# Pillow warns above this number; as RGB it is a quarter of a gigabyte.
MAX_PIXELS = 89_478_485
# Of every format that is read somewhere; what of them this machine reads is `SUFFIXES`.
ALL_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
    }
    | {".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
HEIC_ADVICE = "iPhone images: pip install 'resnets[heic]', or convert them to JPEG"


def _heic_library() -> bool:
    return importlib.util.find_spec("pi_heif") is not None


SUFFIXES = (
    ALL_SUFFIXES
    - (frozenset() if _heic_library() else HEIC_SUFFIXES)
    - (frozenset() if features.check("avif") else {".avif"})
    - (frozenset() if features.check("jpg_2000") else {".jp2"})
)

# Pillow's readers by the first bytes of a file. They are called directly: Image.open() has warnings and limits of its own,
# which belong to the whole process, tries every format that it knows, and keeps the reason of a failure to itself.
_READERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile),  # of the several pictures of an MPO file, this reads the first
    (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    (rb"GIF8[79]a", GifImageFile),
    (rb"RIFF....WEBP", WebPImageFile),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", BmpImageFile),
    (rb"[\x28\x34\x38\x40\x6c\x7c]\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", DibImageFile),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", TiffImageFile),
    (rb"P[1-6]\s+[\d#]", PpmImageFile),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", Jpeg2KImageFile),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_TGA = re.compile(rb".[\0\x01][\x01\x02\x03\x09\x0a\x0b].{13}[\x01\x08\x10\x18\x20]", re.DOTALL)
_OTHERS = (  # what is often found, where it begins, and what it is
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"8BPS", "a Photoshop image"),
    (0, b"\0\0\x01\0", "an icon"),
    (4, b"ftyp", "a video"),  # MP4, MOV and their kin; the image formats of this container were told before
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (8, b"AVI ", "a video (AVI)"),
    (0, b"%PDF", "a PDF document"),
    (128, b"DICM", "a DICOM image"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
)
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"Rar!", "rar"),
    (b"7z\xbc\xaf", "7z"),
)
# Pillow's words for a sound file of a kind that it does not read.
_UNSUPPORTED = ("cannot handle", "unknown pixel mode", "unknown data organization", "nsupported")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND = 64  # rows that become numbers at a time: their copies stay in the processor's cache, 6 times as fast as a whole
_GET_AGAIN = "get it again."


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
        uint8 (height, width, 3), contiguous and writable.

    Raises:
        DecodeError: the picture cannot be read.
        UserError: this process has told Pillow to pass over damage.
    """
    image = decode_image(source, name=name, background=background, min_side=min_side, max_pixels=max_pixels)
    width, height = image.size
    with _named(_called(source, name), max_pixels):  # memory may end here, too
        pixels = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, _BAND):
            bottom = min(top + _BAND, height)
            pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
        return pixels


def decode_image(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """As `decode`, but a loaded Pillow picture of mode RGB: what Pillow resizes next need not become numbers before."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UserError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on in this program: a picture that is cut short would be read as if it "
            "were whole. Switch it off."
        )
    with _opened(source, name, max_pixels) as (image, path), _named(path, max_pixels):
        if min_side and image.format == "JPEG":
            image.draft(None, (min_side, min_side))
        storage = colour.storage(image)
        image.load()
        orientation = _orientation(image)  # after loading, since Pillow turns a TIFF while it loads it
        try:
            rgb = colour.rgb(image, storage, background)
        except colour.NoRangeError as error:
            raise DecodeError(path, "unsupported", f"{error}; convert it to 8 or 16 bits.") from error
        return rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb


def upright(
    image: Image.Image, *, name: str = "the image", background: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
    """A Pillow image of any mode as RGB and turned as its EXIF data say: as `decode_image` gives it for a file.

    Raises:
        DecodeError: its mode has no stated range, or cannot be converted.
    """
    out = io.BytesIO()
    try:
        turned = ImageOps.exif_transpose(image)
        if turned.mode == "RGB" and not turned.has_transparency_data:
            return turned
        plain = turned.convert("RGB") if turned.mode == "CMYK" else turned  # PNG holds no CMYK
        plain.save(out, "PNG", compress_level=0)
    except (OSError, ValueError) as error:
        reason = f"is a Pillow image of mode {image.mode} that cannot be read: {error}"
        raise DecodeError(name, "unsupported", reason) from error
    return decode_image(out.getvalue(), name=name, background=background)


def inspect(source: str | Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> PictureInfo:
    """Read only the header: quick, and blind to damage further on. Raises as `decode` does."""
    with _opened(source, name, max_pixels) as (image, path), _named(path, max_pixels):
        width, height = image.size
        if isinstance(image, TiffImageFile):  # Pillow gives the size that it will have when it has been turned
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
        frames = int(getattr(image, "n_frames", 1))
        return PictureInfo(image.format or "", image.mode, width, height, frames, _orientation(image))


@contextmanager
def _opened(source: str | Path | bytes, name: str | None, max_pixels: int) -> Iterator[tuple[ImageFile.ImageFile, str]]:
    """The picture with its header read, and its name for errors; the file is closed afterwards."""
    path = _called(source, name)
    file = io.BytesIO(source) if isinstance(source, bytes) else opened(source, path)
    with file:
        try:
            head = file.read(256)
        except OSError as error:
            raise DecodeError(path, "missing", f"cannot be read ({short(error)}); check the disk.") from error
        if not head:
            raise DecodeError(path, "empty", f"is empty (0 bytes); {_GET_AGAIN}")
        reader = _reader(path, head)
        if reader is None:
            raise _foreign(path, head)
        _small_enough(path, _claimed(head), max_pixels)
        kind = {"HEIF": "HEIC", "JPEG2000": "JPEG 2000"}.get(reader.format or "", reader.format)
        with _named(path, max_pixels, f"is {'an' if kind == 'AVIF' else 'a'} {kind} image that has a damaged header"):
            image = _header(reader, file)
        with image:
            _small_enough(path, image.size, max_pixels)
            if isinstance(image, TiffImageFile):
                tags = image.tag_v2
                tile = tags.get(ExifTags.Base.TileWidth, 1), tags.get(ExifTags.Base.TileLength, 1)
                _small_enough(path, tile, max_pixels)  # libtiff takes memory for a whole tile
            yield image, path


def is_image(path: str | Path) -> bool:
    """Whether the first bytes of an ordinary file are those of a format that is read."""
    try:
        with opened(path) as file:
            return is_image_head(file.read(64))
    except (DecodeError, OSError):
        return False


def is_image_head(head: bytes) -> bool:
    """Whether these are the first bytes (64 are enough) of a format that is read."""
    return _reader("", head) is not None


def _reader(path: str, head: bytes) -> type[ImageFile.ImageFile] | None:
    for start, plain in _READERS:
        if re.match(start, head, re.DOTALL):
            return plain
    kind = _container(head)
    if kind == "AVIF" and features.check("avif"):
        return AvifImageFile
    if kind == "HEIC" and _heic_library():
        from pi_heif import HeifImageFile  # used as it is: registering it would change Image.open for the whole process

        reader: type[ImageFile.ImageFile] = HeifImageFile
        return reader
    return TgaImageFile if path.lower().endswith(".tga") and _TGA.match(head) else None


def _container(head: bytes) -> str | None:
    """AVIF and HEIC share a container (ISO/IEC 23008-12), whose first box names what is in it by brands."""
    if head[4:8] != b"ftyp":
        return None
    box = head[8 : max(int.from_bytes(head[:4], "big"), 12)]
    brands = {box[place : place + 4] for place in range(0, len(box), 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def _called(source: str | Path | bytes, name: str | None) -> str:
    return name or ("the given bytes" if isinstance(source, bytes) else str(source))


def _header(reader: type[ImageFile.ImageFile], file: BinaryIO) -> ImageFile.ImageFile:
    file.seek(0)
    return reader(file, "")


@contextmanager
def _named(path: str, max_pixels: int, what: str = "is cut short or damaged") -> Iterator[None]:
    """Everything that goes wrong inside is a DecodeError of the picture at `path`."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError(path, "bomb", "needs more memory than there is; make it smaller.") from error
    except Image.DecompressionBombError as error:
        raise DecodeError(path, "bomb", f"claims more than {max_pixels:,} pixels; make it smaller.") from error
    except Exception as error:  # Pillow's readers raise whatever their format stumbles over
        if "samples per pixel" in str(error):
            reason = "has more channels than red, green, blue and alpha; write three of them to a file of their own."
            raise DecodeError(path, "unsupported", reason) from error
        if any(words in str(error) for words in _UNSUPPORTED):
            reason = f"is of a kind that is not read ({short(error)}); convert it to an ordinary JPEG or PNG."
            raise DecodeError(path, "unsupported", reason) from error
        raise DecodeError(path, "truncated", f"{what} ({short(error)}); {_GET_AGAIN}") from error


def _claimed(head: bytes) -> tuple[int, int]:
    """Width and height for the formats whose reader takes memory for the whole picture before it tells its size."""
    if head[:4] == b"GIF8":
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if head[12:16] == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return 0, 0


def _small_enough(path: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        claim = f"claims {width}x{height} = {width * height:,} pixels"
        raise DecodeError(path, "bomb", f"{claim}; at most {max_pixels:,} are read. Make it smaller.")


def _foreign(path: str, head: bytes) -> DecodeError:
    kind = _container(head)
    if kind == "HEIC":
        return DecodeError(path, "unsupported", f"is a HEIC image, which is not read here; {HEIC_ADVICE}.")
    if kind == "AVIF":
        return DecodeError(
            path, "unsupported", "is an AVIF image, which this Pillow does not read; convert it to JPEG."
        )
    for place, start, what in _OTHERS:
        if head.startswith(start, place):
            return DecodeError(path, "unsupported", f"is {what}, which is not read; convert it to JPEG or PNG.")
    for start, what in _PACKED:
        if head.startswith(start):
            return DecodeError(path, "not-a-picture", f"is compressed ({what}); unpack it.")
    if head.startswith(LFS_POINTER):
        return DecodeError(path, "not-a-picture", f"is {LFS}.")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<svg")):
        return DecodeError(path, "not-a-picture", "is a web page or XML, not an image; it may be a failed download.")
    if _base64_of_image(head):
        return DecodeError(path, "not-a-picture", "is an image as base64 text; decode it: base64 -d OLD > NEW")
    if not head.strip(b"\0"):
        return DecodeError(path, "not-a-picture", f"holds only zero bytes; {_GET_AGAIN}")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head[:24])  # which may end within a letter
    except UnicodeDecodeError:
        text = "\0"
    if all(letter.isprintable() or letter in "\t\r\n" for letter in text):
        return DecodeError(path, "not-a-picture", f"is text, not an image: its text begins {text!r}; {_GET_AGAIN}")
    found = f"its bytes begin {head[:8].hex(' ')}"
    return DecodeError(path, "not-a-picture", f"is no image that can be read; {found}. Convert it to JPEG or PNG.")


def _base64_of_image(head: bytes) -> bool:
    """Of `data:image/...;base64,` too."""
    text = re.sub(rb"^data:[\w/+.-]+;base64,", b"", head)
    text = b"".join(text.split())
    try:
        raw = base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except binascii.Error:
        return False
    return len(raw) >= 16 and _reader("", raw) is not None


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(value) if value in range(1, 9) else 1
    except Exception:  # EXIF that cannot be read states no orientation
        return 1
