"""Decode masks, whose pixels are numbers or colors that mean something, without any conversion of these."""

from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.image.decode import MAX_PIXELS, decode_errors, opened
from resnets.data.image.open_image_file import DecodeError

_COLOR_MODES = ("RGB", "RGBA", "LA", "PA")  # of masks
_GRAY_FACTORS = {"L;2": 85, "L;4": 17}  # by which Pillow multiplies gray of 2 and 4 bits, so that white is 255


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
        args = image.tile[0].args if image.tile else ()
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
        if pixels.dtype in (bool, np.uint8):
            return pixels.astype(np.uint8) // _GRAY_FACTORS.get(str(args), 1)
        return pixels.astype(np.int32)


def _colors_of_mask(image: Image.Image, name: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min(initial=255) < 255:
        raise DecodeError(name, "unsupported", "is a mask with transparent pixels; write it without transparency.")
    if image.mode not in (*_COLOR_MODES, "1", "L", "P"):
        raise DecodeError(name, "unsupported", f"is a mask of mode {image.mode}; write its colors as RGB.")
    return np.asarray(image.convert("RGB"))
