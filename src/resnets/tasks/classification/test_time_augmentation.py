"""Test-time augmentation: the probabilities of several views of an image are averaged: six or ten crops, or several scales.

Probabilities, softmax(logits / temperature), are averaged: over the views of an image, and then over
the models of an ensemble.

Ten crops are those of Krizhevsky et al. 2012: the center and the corners of the resized image, and their mirror images.
Six crops are the whole input and two that are moved by a pixel (Jordan 2024), and their mirror images.
Scales are those of He et al. 2015, section 4.1: the whole image with its shorter side resized to each scale, without
a crop, and its mirror image. The network pools its last map whatever its size; for average pooling that is the mean of
the scores at all positions, taken before the softmax.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.backbone import Backbone

CROPS = (1, 6, 10)


def check_arguments(crops: int, scales: Sequence[int]) -> None:
    """Raise UserError for views that no network has."""
    if crops not in CROPS:
        raise UserError(f"`crops` is 1, 6 or 10; received {crops}.")
    if crops > 1 and scales:
        raise UserError("`crops` and `scales` are two kinds of test-time augmentation; give only one.")
    if scales and min(scales) < 1:
        raise UserError(f"`scales` are sides in pixels, 1 or more; received {min(scales)}.")


def check(model: Backbone, preprocess: Preprocess, crops: int, scales: Sequence[int]) -> None:
    """Raise UserError for views that this network or its preprocessing does not allow."""
    check_arguments(crops, scales)
    if crops == 10 and (preprocess.crop != "center" or preprocess.resize not in ("shorter", "none")):
        raise UserError(
            f"`crops=10` needs images larger than the input; this model resizes whole images to {_size(preprocess)}. "
            "Use `scales`."
        )
    if scales and model.fixed_size:
        only = f"this one takes {model.fixed_size} pixels only"
        raise UserError(f"`scales` needs a network for images of any size; {only}.")
    if scales and min(scales) < model.min_size:
        raise UserError(f"`scales={min(scales)}` is below the minimum of this network, {model.min_size} pixels.")


def make_views(preprocess: Preprocess, path: str, crops: int, scales: Sequence[int]) -> list[Tensor]:
    """The views (C, h, w) of the image at `path`; raises DecodeError as `decode` does."""
    if not scales:
        return list(preprocess.views(preprocess.read(path), crops=crops))
    image = _whole(preprocess, max(scales)).read(path)
    resized = [_whole(preprocess, side)(image) for side in scales]
    return [view for image in resized for view in (image, image.flip(-1))]


def num_views(crops: int, scales: Sequence[int]) -> int:
    """The number of views of an image."""
    return 2 * len(scales) if scales else crops


def view_weights(crops: int) -> tuple[float, ...] | None:
    """The weight of each view in the mean of an image; None for equal ones.

    Of six crops the input and its mirror image count for half (KellerJordan/cifar10-airbench, airbench94_muon.py).
    """
    return (1 / 4, 1 / 8, 1 / 8) * 2 if crops == 6 else None


def protocol(preprocess: Preprocess, crops: int, scales: Sequence[int]) -> str:
    """How an image is presented to the model, in words: "10 crops of 224x224, probabilities averaged"."""
    if scales:
        sides = ", ".join(map(str, scales))
        return f"whole images at shorter sides of {sides} and their mirror images, probabilities averaged"
    if crops == 6:
        kinds = "as it is (half the weight) and moved by a pixel twice, each also mirrored"
        return f"{_size(preprocess)} {kinds}, probabilities averaged"
    if crops > 1:
        return f"{crops} crops of {_size(preprocess)}, probabilities averaged"
    return f"one view of {_size(preprocess)}"


def _whole(preprocess: Preprocess, side: int) -> Preprocess:
    return replace(preprocess, size=(side, side), resize="shorter", resize_to=side, crop="none", antialias=True)


def _size(preprocess: Preprocess) -> str:
    height, width = preprocess.size
    return f"{width}x{height}"
