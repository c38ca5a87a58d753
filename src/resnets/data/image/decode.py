"""Decode an image file to 8-bit RGB, in the same way in training, evaluation and prediction.

The contract:

* JPEG, PNG, WebP, GIF, TIFF, BMP, PNM, JPEG 2000 and AVIF are read, by their content and whatever the file is called; TGA,
  which has no magic number, if the name ends in .tga; HEIC if the library pi-heif is installed.
* The orientation that EXIF states is applied.
* Gray, palette and one-bit images become RGB; transparent pixels show the stated background.
* CMYK becomes RGB by (1 - C)(1 - K); a JPEG with Adobe's marker holds inverted values, one without does not.
* 16-bit gray is scaled to 8 bits and rounded, not clipped; of 16-bit color, Pillow reads the upper 8 bits.
* Lab becomes sRGB. Whole numbers with a sign, of 32 bits, and floating-point numbers have no stated range: an error.
* Of animations and files of several pages, the first image is read. Color profiles are not applied.
* Everything else is a DecodeError that names the file: nothing is guessed, repaired or replaced.

No reader built on libjpeg notices a JPEG that is damaged in its middle, but not truncated: it decodes to wrong pixels.
"""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from resnets.data.image import color
from resnets.data.image.formats import GET_AGAIN, find_reader, header_size, unreadable_error
from resnets.data.image.open_image_file import DecodeError, open_image_file, short_reason
from resnets.errors import UserError

# Pillow warns above this number; as RGB it is a quarter of a gigabyte.
MAX_PIXELS = 89_478_485
# In Pillow's messages on an intact file of a kind that it does not read.
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
# Orientations that turn the right or the lower end of the stored image to the left or up.
_REMAINDER_FIRST = (2, 3, 4, 6, 7, 8)
_BAND = 64  # rows that are converted at a time: they stay in the processor's cache, which is 6 times as fast as a whole image


class OpenedImage(NamedTuple):
    """An image whose header was read and its pixels not, and its name for errors."""

    image: ImageFile.ImageFile
    name: str


class ImageInfo(NamedTuple):
    """The header of an image; height and width in pixels as they are stored, before `orientation` (1 to 8) is applied."""

    format: str
    mode: str
    width: int
    height: int
    frames: int
    orientation: int


def decode(
    path_or_bytes: str | Path | bytes,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Read an image as RGB.

    Args:
        path_or_bytes: a path, or the file's bytes.
        name: the name of bytes in an error.
        background: RGB, 0 to 255, behind transparent pixels.
        min_side: a JPEG may be decoded at the smallest scale of 1, 1/2, 1/4 and 1/8 whose shorter side has at least as many
            pixels; one that EXIF turns only if its sides are multiples of 8.
        max_pixels: an image whose header states more is refused before memory is allocated.

    Returns:
        uint8 (height, width, 3), contiguous and writable.

    Raises:
        DecodeError: the image cannot be read.
        UserError: `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is on in this process.
    """
    image = decode_image(path_or_bytes, name=name, background=background, min_side=min_side, max_pixels=max_pixels)
    width, height = image.size
    with decode_errors(_display_name(path_or_bytes, name), max_pixels):  # memory may end here, too
        pixels = np.empty((height, width, 3), np.uint8)
        for top in range(0, height, _BAND):
            bottom = min(top + _BAND, height)
            pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
        return pixels


def decode_image(
    path_or_bytes: str | Path | bytes,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """As `decode`, but a loaded Pillow image of mode RGB, which Pillow can resize without a conversion."""
    return decode_sized(path_or_bytes, name=name, background=background, min_side=min_side, max_pixels=max_pixels)[0]


def decode_sized(
    path_or_bytes: str | Path | bytes | OpenedImage,
    *,
    name: str | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    min_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> tuple[Image.Image, tuple[int, int]]:
    """As `decode_image`, and the height and width of the upright image in the file, which a smaller scale does not change.

    Args:
        path_or_bytes: also an image that `opened` has opened; it has its name and has passed its limit.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UserError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on in this program: an image that is cut short would be read as if it "
            "were whole. Switch it off."
        )
    with _as_opened(path_or_bytes, name, max_pixels) as (image, path), decode_errors(path, max_pixels):
        size = None
        if min_side and image.format == "JPEG":
            size = image.size
            # At a smaller scale the last pixels may reach beyond the image; see `resizing.decoded_region`.
            if not any(side % 8 for side in size) or _orientation(image) not in _REMAINDER_FIRST:
                image.draft(None, (min_side, min_side))
        raw_mode = color.raw_mode(image)
        image.load()
        orientation = _orientation(image)  # after loading, since Pillow applies that of a TIFF while it loads it
        try:
            rgb = color.to_rgb(image, raw_mode, background)
        except color.NoRangeError as error:
            raise DecodeError(path, "unsupported", f"{error}; convert it to 8 or 16 bits.") from error
        upright = rgb.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else rgb
        width, height = upright.size if size is None else size[:: -1 if orientation >= 5 else 1]
        return upright, (height, width)


def to_upright_rgb(
    image: Image.Image, *, name: str = "the image", background: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
    """A Pillow image of any mode as RGB, with its EXIF orientation applied: as `decode_image` returns it for a file.

    Raises:
        DecodeError: its mode has no stated range, or cannot be converted.
    """
    out = io.BytesIO()
    try:
        turned = ImageOps.exif_transpose(image)
        if turned.mode == "RGB" and not turned.has_transparency_data:
            return turned
        savable = turned.convert("RGB") if turned.mode == "CMYK" else turned  # PNG has no CMYK
        savable.save(out, "PNG", compress_level=0)
    except (OSError, ValueError) as error:
        reason = f"is a Pillow image of mode {image.mode} that cannot be read: {error}"
        raise DecodeError(name, "unsupported", reason) from error
    return decode_image(out.getvalue(), name=name, background=background)


def inspect(path_or_bytes: str | Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Read only the header: fast, and without noticing damage after it. Raises as `decode` does."""
    with opened(path_or_bytes, name, max_pixels) as (image, path), decode_errors(path, max_pixels):
        width, height = image.size
        if isinstance(image, TiffImageFile):  # Pillow states the size after its orientation was applied
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
        frames = int(getattr(image, "n_frames", 1))
        return ImageInfo(image.format or "", image.mode, width, height, frames, _orientation(image))


@contextmanager
def opened(path_or_bytes: str | Path | bytes, name: str | None, max_pixels: int) -> Iterator[OpenedImage]:
    """The image with its header read, and its name for errors; the file is closed afterwards. Raises as `decode`."""
    path = _display_name(path_or_bytes, name)
    file = io.BytesIO(path_or_bytes) if isinstance(path_or_bytes, bytes) else open_image_file(path_or_bytes, path)
    with file:
        try:
            head = file.read(256)
        except OSError as error:
            raise DecodeError(path, "missing", f"cannot be read ({short_reason(error)}); check the disk.") from error
        if not head:
            raise DecodeError(path, "empty", f"is empty (0 bytes); {GET_AGAIN}")
        reader = find_reader(path, head)
        if reader is None:
            raise unreadable_error(path, head)
        _check_size(path, header_size(head), max_pixels)
        kind = {"HEIF": "HEIC", "JPEG2000": "JPEG 2000"}.get(reader.format or "", reader.format)
        with decode_errors(
            path, max_pixels, f"is {'an' if kind == 'AVIF' else 'a'} {kind} image that has a damaged header"
        ):
            image = _header(reader, file)
        with image:
            _check_size(path, image.size, max_pixels)
            if isinstance(image, TiffImageFile):
                tags = image.tag_v2
                tile = tags.get(ExifTags.Base.TileWidth, 1), tags.get(ExifTags.Base.TileLength, 1)
                _check_size(path, tile, max_pixels)  # libtiff takes memory for a whole tile
            yield OpenedImage(image, path)


def _as_opened(
    source: str | Path | bytes | OpenedImage, name: str | None, max_pixels: int
) -> AbstractContextManager[OpenedImage]:
    return nullcontext(source) if isinstance(source, OpenedImage) else opened(source, name, max_pixels)


def _display_name(path_or_bytes: str | Path | bytes, name: str | None) -> str:
    return name or ("the given bytes" if isinstance(path_or_bytes, bytes) else str(path_or_bytes))


def _header(reader: type[ImageFile.ImageFile], file: BinaryIO) -> ImageFile.ImageFile:
    file.seek(0)
    return reader(file, "")


@contextmanager
def decode_errors(path: str, max_pixels: int, what: str = "is cut short or damaged") -> Iterator[None]:
    """Turn every exception in the block into a DecodeError of the image at `path`."""
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as error:
        raise DecodeError(path, "bomb", "needs more memory than there is; make it smaller.") from error
    except Image.DecompressionBombError as error:
        raise DecodeError(path, "bomb", f"claims more than {max_pixels:,} pixels; make it smaller.") from error
    except Exception as error:  # Pillow's readers raise exceptions of many kinds
        if "samples per pixel" in str(error):
            reason = "has more channels than red, green, blue and alpha; write three of them to a file of their own."
            raise DecodeError(path, "unsupported", reason) from error
        if any(words in str(error) for words in _UNSUPPORTED):
            reason = f"is of an unsupported kind ({short_reason(error)}); convert it to an ordinary JPEG or PNG."
            raise DecodeError(path, "unsupported", reason) from error
        if "image file is truncated" in str(error):  # Pillow's message continues with the number of bytes that it holds
            raise DecodeError(path, "truncated", f"is cut short: the file ends too early; {GET_AGAIN}") from error
        raise DecodeError(path, "truncated", f"{what} ({short_reason(error)}); {GET_AGAIN}") from error


def _check_size(path: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        claim = f"claims {width}x{height} = {width * height:,} pixels"
        raise DecodeError(path, "bomb", f"{claim}; at most {max_pixels:,} are read. Make it smaller.")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(value) if value in range(1, 9) else 1
    except Exception:  # unreadable EXIF data state no orientation
        return 1
