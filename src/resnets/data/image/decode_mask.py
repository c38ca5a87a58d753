"""Decode masks, whose pixels are numbers or colors that mean something, without any conversion of these."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnets.data.image.decode import MAX_PIXELS, decode_errors, opened
from resnets.data.image.open_image_file import DecodeError

_COLOR_MODES = ("RGB", "RGBA", "LA", "PA")  # of masks
# Pillow's names of the forms in which gray is stored: with 2 or 4 bits, with 0 for white, with reversed bits.
_RAW_MODE = re.compile(r"[1L];(?P<bits>[24]?)(?P<inverted>I?)R?")
_GRAY_FACTORS = {"2": 85, "4": 17}  # by which Pillow multiplies gray of so many bits, so that white is 255


def decode_mask(path: str | Path, *, as_colors: bool = False, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a mask, whose pixels are numbers that mean something, without any conversion of these.

    A palette is not applied: its indices are the numbers. An EXIF orientation is not applied either.

    Args:
        as_colors: whether the colors have the meaning, and not the numbers; a palette is applied then.

    Returns:
        (height, width) uint8, or int32 for files of more bits; with `as_colors` (height, width, 3) uint8. A file of red, green
        and blue has numbers if these are equal in each pixel.

    Raises:
        DecodeError: the mask cannot be read, has transparent pixels, or colors instead of numbers.
    """
    with opened(path, None, max_pixels) as (image, name), decode_errors(name, max_pixels):
        tile = image.tile[0] if image.tile else None
        image.load()
        pixels = _colors_of_mask(image, name) if as_colors or image.mode in _COLOR_MODES else np.asarray(image)
        if as_colors:
            return np.array(pixels)
        if pixels.ndim == 3:
            if (pixels != pixels[..., :1]).any():
                raise DecodeError(name, "unsupported", "has colors where each pixel of a mask should have one number.")
            pixels = pixels[..., 0]
        if pixels.dtype == np.float32 or pixels.min(initial=0) < 0:
            raise DecodeError(
                name, "unsupported", "is a mask with numbers that are not whole, or negative; write it as gray."
            )
        return _stored(pixels, tile)


def _stored(pixels: np.ndarray, tile: Any) -> np.ndarray:
    """The numbers in the file, uint8 or int32, from those that Pillow gives; `tile` says how it read them."""
    args = tile.args if tile else ""
    if tile and tile.codec_name.startswith("ppm") and isinstance(args, tuple):  # Pillow scales PGM to 8 or 16 bits
        scaled = pixels * (args[1] / (255 if args[1] <= 255 else 65_535))
        return np.round(scaled).astype(np.uint8 if args[1] <= 255 else np.int32)
    if pixels.dtype not in (bool, np.uint8):
        return pixels.astype(np.int32)
    mode = _RAW_MODE.fullmatch(str(args[0] if isinstance(args, tuple) and args else args))
    numbers = pixels.astype(np.uint8)
    if mode and mode["inverted"]:
        numbers = (1 if pixels.dtype == bool else 255) - numbers
    return numbers // _GRAY_FACTORS.get(mode["bits"] if mode else "", 1)


def _colors_of_mask(image: Image.Image, name: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min(initial=255) < 255:
        raise DecodeError(name, "unsupported", "is a mask with transparent pixels; write it without transparency.")
    if image.mode not in (*_COLOR_MODES, "1", "L", "P"):
        raise DecodeError(name, "unsupported", f"is a mask of mode {image.mode}; write its colors as RGB.")
    return np.asarray(image.convert("RGB"))
