"""Images of one or of several sizes -> one batch whose sides are multiples of 32."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Pixels: the largest stride of the maps of most networks, so that the maps of a pyramid are 2, 4 and 8 times the last one.
MULTIPLE = 32


def padded_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of an image of this size after `pad`."""
    # Of positive numbers only, whose quotient runtimes of exported files round down as Python does.
    return (height + MULTIPLE - 1) // MULTIPLE * MULTIPLE, (width + MULTIPLE - 1) // MULTIPLE * MULTIPLE


def pad(x: Tensor) -> Tensor:
    """Zeros at the right and at the bottom: (..., H, W) to multiples of 32."""
    height, width = x.shape[-2:]
    rows, columns = padded_size(height, width)  # and no remainder, which OpenVINO cannot convert
    return F.pad(x, (0, columns - width, 0, rows - height))


def sizes(x: Tensor) -> Tensor:
    """Height and width of each image of a batch (N, 3, H, W), float32 (N, 2)."""
    ones = torch.ones(x.shape[0], 1, device=x.device)  # multiplied, so that a symbolic trace can follow the sizes
    return torch.cat([ones * x.shape[-2], ones * x.shape[-1]], 1)


def batch(images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Images (3, h, w), or a batch (N, 3, H, W) -> the batch, padded to a common multiple of 32, and the sizes before."""
    if isinstance(images, Tensor):
        return pad(images), sizes(images)
    height, width = (max(image.shape[side] for image in images) for side in (-2, -1))
    padded = [F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in images]
    return pad(torch.stack(padded)), torch.cat([sizes(image[None]) for image in images])
