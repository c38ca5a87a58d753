"""The outputs of a segmenter for images of several sizes: the logits of its decoder and, in a validation, losses."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnets.data.loading.batch import Images
from resnets.models.segmentation.layers import resize
from resnets.models.segmentation.segmenter import Segmenter
from resnets.tasks.segmentation import sliding_window

WHOLE_PIXELS = 2**21  # of an image that goes through the network as a whole; larger ones do so in windows
BATCH_PIXELS = 2**20  # of the images that go through the network together

Dense = Callable[[Tensor], Tensor]  # images (n, C, H, W) -> logits (n, K, h, w) at the stride of the decoder
Loss = Callable[[Tensor, Tensor], dict[str, Tensor]]  # logits and masks at the size of the input -> terms, (n,) each


class SegmentationOutput(NamedTuple):
    """What a segmenter says of n images.

    Attributes:
        logits: of each image, (K, h, w), at the stride of the decoder.
        losses: by name, (n,); empty outside of the validation of a training.
    """

    logits: list[Tensor]
    losses: dict[str, Tensor]


def forward(
    model: Any, images: Images, window: int, masks: Any = None, loss: Loss | None = None, *, align_corners: bool = False
) -> SegmentationOutput:
    """The outputs for images (n, C, H, W), or for a list of images of several sizes.

    Args:
        model: a segmenter, or what a backend computes of it: the logits at the stride of the decoder.
        window: side of the windows of an image of more than 2 million pixels.
        masks: of the images, (n, H, W), or a list of them.
        loss: of logits and masks.
    """
    dense = find_dense(model)
    logits: list[Any] = [None] * len(images)
    for indices, part in _parts(images):
        found = dense(part) if _is_small(part) else _in_windows(dense, part[0], window)[None]
        for index, each in zip(indices, found, strict=True):
            logits[index] = each
    terms: dict[str, list[Tensor]] = {}
    if masks is not None and loss is not None:
        for each, mask in zip(logits, masks, strict=True):
            for name, value in loss(*_of_one_size(each.float(), mask, align_corners=align_corners)).items():
                terms.setdefault(name, []).append(value[0])
    return SegmentationOutput(logits, {name: torch.stack(values) for name, values in terms.items()})


def _of_one_size(logits: Tensor, mask: Tensor, *, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Logits (1, K, H, W) and mask (1, H, W) at the size of the mask, or of the logits where the mask is a large one."""
    if mask.numel() <= WHOLE_PIXELS:
        return resize(logits[None], (mask.shape[0], mask.shape[1]), align_corners=align_corners), mask[None]
    nearest = functional.interpolate(mask[None, None].float(), logits.shape[-2:], mode="nearest-exact")
    return logits[None], nearest[0].to(mask.dtype)


def find_dense(model: Any) -> Dense:
    """That of the segmenter in a module; a function that is no module computes the dense logits itself."""
    if not isinstance(model, nn.Module):
        compute: Dense = model
        return compute
    segmenter = next((module for module in model.modules() if isinstance(module, Segmenter)), None)
    return model if segmenter is None else segmenter.dense


def largest_batch(height: int, width: int) -> int:
    """How many images of this size are computed together at most."""
    return max(BATCH_PIXELS // (height * width), 1)


def _is_small(images: Tensor) -> bool:
    return math.prod(images.shape[-2:]) <= WHOLE_PIXELS


def _in_windows(dense: Dense, image: Tensor, window: int) -> Tensor:
    rows, columns = (sliding_window.window_spans(side, window) for side in image.shape[-2:])
    parts = sliding_window.blend_windows(dense, lambda y, x: image[:, y.start : y.end, x.start : x.end], rows, columns)
    return torch.cat(list(parts), dim=1).to(image.device)


def _parts(images: Images) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Images of one size that are computed together, with their indices."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image.shape[-2:]), []).append(index)
    for (height, width), group in groups.items():
        size = largest_batch(height, width)
        for start in range(0, len(group), size):
            indices = group[start : start + size]
            if isinstance(images, Tensor):  # all are of one size, and consecutive
                yield indices, images[indices[0] : indices[-1] + 1]
            else:
                yield indices, torch.stack([images[index] for index in indices])
