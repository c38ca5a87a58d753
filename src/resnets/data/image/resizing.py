"""Resize, crop and pad images of 8-bit RGB with Pillow.

Lengths are rounded as in torchvision (torchvision/transforms/v2/functional/_geometry.py), so that the results equal those of
its transforms. torchvision itself is not used since importing its transforms takes as long as importing torch.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.image.decode import MAX_PIXELS

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
METHODS = {name: Image.Resampling[name.upper()] for name in INTERPOLATIONS}


def resize_shorter_side(image: Image.Image, side: int, method: Image.Resampling) -> Image.Image:
    """Resize to a shorter side of `side` pixels, keeping the aspect ratio."""
    (height, width), _, _ = shorter_side_size((image.height, image.width), side)
    return image.crop(center_strip_box(image.size, side)).resize((width, height), method)


def shorter_side_size(size: tuple[int, int], side: int) -> tuple[tuple[int, int], tuple[float, float], tuple[int, int]]:
    """Of an image of (height, width): its size after `resize_shorter_side`, the scale of both axes, and the rows and columns
    that are cut off at the top and at the left of a long strip.
    """
    left, top, right, bottom = center_strip_box(size[::-1], side)
    height, width = bottom - top, right - left
    longer = side * max(height, width) // min(height, width)
    resized = (longer, side) if width < height else (side, longer)
    return resized, (resized[0] / height, resized[1] / width), (top, left)


def resize_pad(
    image: Image.Image, size: tuple[int, int], method: Image.Resampling, background: tuple[int, int, int]
) -> Image.Image:
    """Resize the whole image to fit into `size` (height, width), in the middle of the background."""
    height, width = size
    inner = fitted_size((image.height, image.width), size)
    canvas = Image.new("RGB", (width, height), background)
    canvas.paste(image.resize(inner[::-1], method), ((width - inner[1]) // 2, (height - inner[0]) // 2))
    return canvas


def fitted_size(original: tuple[int, int], size: tuple[int, int], shorter: int | None = None) -> tuple[int, int]:
    """Height and width of an image that is resized to fit into `size`, and to a shorter side of at most `shorter` pixels.

    They are rounded half to even, in integers, so that each program gets the same ones.
    """
    limits = [*zip(size, original, strict=True)] + ([(shorter, min(original))] if shorter is not None else [])
    height, width = (max(min(_divide_rounded(own * side, by) for side, by in limits), 1) for own in original)
    return height, width


def _divide_rounded(value: int, by: int) -> int:
    quotient, rest = divmod(2 * value + by, 2 * by)
    return quotient - (rest == 0 and quotient % 2 == 1)


def center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop the middle, padded with black if the image is smaller. Odd margins: round half to even, as torchvision."""
    left, top = center_crop_corner(image.size, size)
    return image.crop((left, top, left + size[1], top + size[0]))


def center_crop_corner(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Left and top of the crop of `size` (height, width) of an image of (width, height); negative where it is smaller."""
    height, width = size
    missing = max(width - image[0], 0) // 2, max(height - image[1], 0) // 2
    left = -missing[0] if width > image[0] else round((image[0] - width) / 2)
    top = -missing[1] if height > image[1] else round((image[1] - height) / 2)
    return left, top


def five_crop(image: Image.Image, size: tuple[int, int]) -> list[Image.Image]:
    """Crop the corners from the upper left to the lower right, and the center."""
    (height, width), right, below = size, image.width - size[1], image.height - size[0]
    corners = [(0, 0), (right, 0), (0, below), (right, below)]
    return [*(image.crop((x, y, x + width, y + height)) for x, y in corners), center_crop(image, size)]


def center_strip_box(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of an image of (width, height) that can be resized to a shorter side of `side` pixels.

    It is nearly always the whole image.

    An image one pixel high and a million wide is small until its shorter side is resized to 256. Of such a strip the box is
    the middle, as long as MAX_PIXELS allows.
    """
    width, height = size
    longest = max(MAX_PIXELS // side**2, 1) * min(size)
    left, top = max(width - longest, 0) // 2, max(height - longest, 0) // 2
    return left, top, left + min(width, longest), top + min(height, longest)


def decoded_region(size: tuple[int, int], original: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) that an image of `original` (height, width) covers of what was decoded of it, of `size`.

    At a scale of 1/8, a JPEG that is 2,057 pixels wide is decoded as 258 pixels, of which the last reaches beyond the image.
    """
    scale = next((each for each in (1, 2, 4, 8) if size == tuple(-(-side // each) for side in original)), None)
    height, width = size if scale is None else (side / scale for side in original)
    return 0.0, 0.0, width, height


def to_pillow(image: np.ndarray | Image.Image) -> Image.Image:
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def to_chw(image: np.ndarray | Image.Image) -> Tensor:
    """(H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).contiguous()
