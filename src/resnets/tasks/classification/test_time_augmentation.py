"""Several looks at one image, whose probabilities are averaged: ten crops, or whole images at several scales.

What is averaged are probabilities, softmax(logits / temperature), with equal weights: over the views of an image, and
then over the models of an ensemble.

Ten crops are those of Krizhevsky et al. 2012: the center and the corners of the resized image, and their mirror images.
Scales are those of He et al. 2015, section 4.1: the whole image with its shorter side brought to each scale, without
a crop, and its mirror image. The network pools its last map whatever its size; for average pooling that is the mean of
the scores at all places, taken before the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.resnet import ResNet

CROPS = (1, 10)


def scales(text: str) -> tuple[int, ...]:
    """The numbers of `224,256,384`; none for an empty text.

    Raises:
        UserError: what is no number of pixels.
    """
    words = [word.strip() for word in text.split(",")] if text else []
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) > 0):
            raise UserError(f"`scales` is a list of sides in pixels, such as 224,256,384; received '{word}'.")
    return tuple(map(int, words))


def check(net: ResNet, preprocess: Preprocess, crops: int, sides: Sequence[int]) -> None:
    """Raises UserError for views that this network and its preprocessing do not allow."""
    if crops not in CROPS:
        raise UserError(f"`crops` is 1 or 10; received {crops}.")
    if crops > 1 and sides:
        raise UserError("`crops` and `scales` are two ways of looking at an image; give one of them.")
    if crops > 1 and (preprocess.crop != "center" or preprocess.resize not in ("shorter", "none")):
        raise UserError(
            f"`crops=10` takes crops of a larger image; this model brings each one to {_size(preprocess)} as a whole. "
            "Use `scales`."
        )
    if sides and net.fixed_size:
        raise UserError(
            f"`scales` needs a network for images of any size; this one takes {net.fixed_size} pixels only."
        )
    if sides and min(sides) < net.min_size:
        raise UserError(f"`scales={min(sides)}` is less than this network can take, {net.min_size} pixels.")


def take(preprocess: Preprocess, path: str, crops: int, sides: Sequence[int]) -> list[Tensor]:
    """The views (C, h, w) of the image at `path`; raises DecodeError as `decode` does."""
    if not sides:
        return list(preprocess.views(preprocess.read(path), crops=crops))
    image = _whole(preprocess, max(sides)).read(path)
    ready = [_whole(preprocess, side)(image) for side in sides]
    return [view for one in ready for view in (one, one.flip(-1))]


def count(crops: int, sides: Sequence[int]) -> int:
    """Views of an image."""
    return 2 * len(sides) if sides else crops


def protocol(preprocess: Preprocess, crops: int, sides: Sequence[int]) -> str:
    """In words, how each image is looked at."""
    if sides:
        listed = ", ".join(map(str, sides))
        return f"whole images at shorter sides of {listed} and their mirror images, probabilities averaged"
    if crops > 1:
        return f"{crops} crops of {_size(preprocess)}, probabilities averaged"
    return f"one view of {_size(preprocess)}"


def _whole(preprocess: Preprocess, side: int) -> Preprocess:
    return replace(preprocess, size=(side, side), resize="shorter", resize_to=side, crop="none", antialias=True)


def _size(preprocess: Preprocess) -> str:
    height, width = preprocess.size
    return f"{width}x{height}"
