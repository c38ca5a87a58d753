"""Image formats: recognize a file by its first bytes, find its reader, and describe files that are not images."""

import codecs
import importlib.util
import re
from pathlib import Path

from PIL import ImageFile, features
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

from resnets.data.image.open_image_file import DecodeError, open_image_file
from resnets.errors import LFS, LFS_POINTER

# Of every format that can be read on some machine; `SUFFIXES` has those of this machine.
ALL_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe"}
    | {".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
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

# Pillow's readers by the first bytes of a file. They are called directly: Image.open() has warnings and limits that apply to
# the whole process, tries every format that it knows, and hides the reason of a failure.
_READERS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (rb"\xff\xd8\xff", JpegImageFile),  # of the several images of an MPO file, this reads the first
    (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    (rb"GIF8[79]a", GifImageFile),
    (rb"RIFF....WEBP", WebPImageFile),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", BmpImageFile),
    (rb"[\x28\x34\x38\x40\x6c\x7c]\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", DibImageFile),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", TiffImageFile),
    (rb"P[1-6]\s+[\d#]", PpmImageFile),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", Jpeg2KImageFile),
)
GET_AGAIN = "get it again."
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_TGA = re.compile(rb".[\0\x01][\x01\x02\x03\x09\x0a\x0b].{13}[\x01\x08\x10\x18\x20]", re.DOTALL)
_OTHERS = (  # offset, bytes and description of other files that are often found
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"8BPS", "a Photoshop image"),
    (4, b"ftyp", "a video"),  # the image formats of this container were recognized before
    (0, b"%PDF", "a PDF document"),
    (128, b"DICM", "a DICOM image"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"PK\x03\x04", "a zip archive"),
)


def is_image(path: str | Path) -> bool:
    """Whether the first bytes of a regular file are those of a format that can be read."""
    try:
        with open_image_file(path) as file:
            return is_image_head(file.read(64))
    except (DecodeError, OSError):
        return False


def is_image_head(head: bytes) -> bool:
    """Whether these are the first bytes (64 are enough) of a format that can be read."""
    return find_reader("", head) is not None


def find_reader(path: str, head: bytes) -> type[ImageFile.ImageFile] | None:
    """Pillow's reader for a file that begins with these bytes; None if it is not an image that can be read here."""
    for start, candidate in _READERS:
        if re.match(start, head, re.DOTALL):
            return candidate
    kind = _container(head)
    if kind == "AVIF" and features.check("avif"):
        return AvifImageFile
    if kind == "HEIC" and _heic_library():
        from pi_heif import HeifImageFile  # not registered, which would change Image.open for the whole process

        reader: type[ImageFile.ImageFile] = HeifImageFile
        return reader
    return TgaImageFile if path.lower().endswith(".tga") and _TGA.match(head) else None


def _container(head: bytes) -> str | None:
    """AVIF and HEIC share a container (ISO/IEC 23008-12), whose first box names the format by brands."""
    if head[4:8] != b"ftyp":
        return None
    box = head[8 : max(int.from_bytes(head[:4], "big"), 12)]
    brands = {box[position : position + 4] for position in range(0, len(box), 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def header_size(head: bytes) -> tuple[int, int]:
    """Width and height for formats whose reader allocates memory for the whole image before it returns its size."""
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


def unreadable_error(path: str, head: bytes) -> DecodeError:
    """The error for a file without a reader: what it is instead, and what to do."""
    kind = _container(head)
    if kind == "HEIC":
        return DecodeError(path, "unsupported", f"is a HEIC image, which cannot be read here; {HEIC_ADVICE}.")
    if kind == "AVIF":
        return DecodeError(path, "unsupported", "is an AVIF image, which this Pillow cannot read; convert it to JPEG.")
    for position, start, what in _OTHERS:
        if head.startswith(start, position):
            return DecodeError(path, "unsupported", f"is {what}, which cannot be read; convert it to JPEG or PNG.")
    if head.startswith(LFS_POINTER):
        return DecodeError(path, "not-an-image", f"is {LFS}.")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<svg")):
        return DecodeError(path, "not-an-image", "is a web page or XML, not an image; it may be a failed download.")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head[:24])  # which may end within a character
    except UnicodeDecodeError:
        text = "\0"
    if all(letter.isprintable() or letter in "\t\r\n" for letter in text):
        return DecodeError(path, "not-an-image", f"is text, not an image: its text begins {text!r}; {GET_AGAIN}")
    begin = f"its bytes begin {head[:8].hex(' ')}"
    return DecodeError(path, "not-an-image", f"is not an image that can be read; {begin}. Convert it to JPEG or PNG.")
