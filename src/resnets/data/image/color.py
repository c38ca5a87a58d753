"""Convert an image of any of Pillow's modes to 8-bit RGB, by one stated rule for each mode."""

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageFile

# Pillow scales gray of 2 and 4 bits to 8, and takes the upper half of 16 bits, but leaves PNG's transparent color as it is
# in the file.
_TRANSPARENT_SCALE = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}


class NoRangeError(ValueError):
    """Pixel values whose range is not stated, so that black and white are not known."""


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Pillow's raw mode of the file, such as "RGB;16B"; only known before the image is loaded."""
    arguments = image.tile[0][3] if image.tile else ""
    return arguments if isinstance(arguments, str) else ""


def to_rgb(image: ImageFile.ImageFile, raw_mode: str, background: tuple[int, int, int]) -> Image.Image:
    """Convert a loaded image to mode RGB.

    Args:
        image: as a reader returns it, with its `info` and, of a TIFF, its tags.
        raw_mode: as the function `raw_mode` returned it.
        background: RGB, 0 to 255, behind transparent pixels.

    Returns:
        A Pillow image of mode RGB.

    Raises:
        NoRangeError: whole numbers with a sign or of 32 bits, or floating-point numbers.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _from_16_bits(image, background)
    if image.mode in ("I", "F"):
        kind = "floating-point numbers" if image.mode == "F" else "whole numbers with a sign or of 32 bits"
        raise NoRangeError(f"holds {kind}, whose range is not stated")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        return ImageChops.invert(image).convert("RGB")  # Pillow takes every CMYK JPEG to be inverted, as Adobe's are
    if image.has_transparency_data:
        return _over(image, raw_mode, background)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bits(image: ImageFile.ImageFile, background: tuple[int, int, int]) -> Image.Image:
    """Gray of more than 8 bits, scaled and rounded."""
    wide = np.asarray(image).astype(np.uint32)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]  # a TIFF may hold 12
    white = 2**bits - 1
    narrow = np.minimum((wide * 255 + white // 2) // white, 255).astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # 0 is white; Pillow regards it with 8 bits only
        narrow = 255 - narrow
    gray = Image.fromarray(narrow).convert("RGB")
    if (transparent := image.info.get("transparency")) is not None:
        gray.paste(background, mask=Image.fromarray(np.where(wide == transparent, 255, 0).astype(np.uint8)))
    return gray


def _over(image: ImageFile.ImageFile, raw_mode: str, background: tuple[int, int, int]) -> Image.Image:
    """The image over the background."""
    if scale := _TRANSPARENT_SCALE.get(raw_mode):
        value = image.info["transparency"]
        scaled = tuple(int(each * scale) for each in (value if isinstance(value, tuple) else (value,)))
        image.info["transparency"] = scaled if isinstance(value, tuple) else scaled[0]
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, background)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas
