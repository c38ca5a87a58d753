"""An image of any kind that a user gives, decoded."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from resnets.data.image.decode import OpenedImage, to_upright_rgb
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.tasks.inputs.hashed_file import HashedFile

ImageInput = str | Path | HashedFile | bytes | np.ndarray | Image.Image
Kind = TypeVar("Kind")


def as_list(images: ImageInput | Iterable[Kind]) -> Iterable[ImageInput | Kind]:
    """Many images as they are, and one image as a list of it."""
    if isinstance(images, (str, Path, HashedFile, bytes, Image.Image)) or (
        isinstance(images, np.ndarray) and images.ndim < 4
    ):
        return [images]
    return images


def name_of(image: ImageInput, index: int) -> str:
    """Its path, or for an image in memory its index among the images that were given."""
    return str(image) if isinstance(image, (str, Path, HashedFile)) else f"[{index}]"


def read_image(
    image: ImageInput | OpenedImage, name: str, preprocess: Preprocess, *, full_size: bool = False
) -> tuple[np.ndarray | Image.Image, tuple[int, int]]:
    """The pixels for `Preprocess.place`, and the height and width of the image; see `Preprocess.read_sized`.

    Raises:
        UserError: it is not an image.
        ImageError: it cannot be read.
    """
    if isinstance(image, HashedFile):
        image = image.content()
    if isinstance(image, (str, Path, bytes, OpenedImage)):
        return preprocess.read_sized(image, name=name if isinstance(image, bytes) else None, full_size=full_size)
    if isinstance(image, Image.Image):
        upright = to_upright_rgb(image, name=name, background=preprocess.background)
        return upright, (upright.height, upright.width)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        if image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        if image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image, (image.shape[0], image.shape[1])
    kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise UserError(
        f"Image {name} has the type {kind}; give a path, the bytes of a file, a Pillow image, or a uint8 array (H, W, 3) in RGB "
        "or (H, W) in gray."
    )
