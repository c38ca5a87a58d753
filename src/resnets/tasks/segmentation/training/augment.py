"""The augmentation of an image with its mask, by torchvision.transforms.v2: scale, crop, flip, colors."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

from resnets.data.image.preprocess import Preprocess
from resnets.data.mask_datasets.mask_classes import IGNORE
from resnets.recipes.recipe import Augment
from resnets.tasks.segmentation.config import SegmentationConfig

MAX_DRAWS = 10


def train_transform(config: SegmentationConfig, section: Augment, preprocess: Preprocess) -> v2.Transform:
    """A function of a uint8 image (3, H, W) and its mask (H, W), which returns both with the size of `config.crop`.

    `section.flip` and `section.jitter` are used.
    """
    steps: list[v2.Transform] = [
        ScaleCrop(preprocess, config.crop, config.scale_jitter, config.crop_max_class_fraction)
    ]
    if section.flip:
        steps.append(v2.RandomHorizontalFlip(section.flip))
    if section.jitter:
        steps.append(v2.ColorJitter(section.jitter, section.jitter, section.jitter))
    return v2.Compose(steps)


class ScaleCrop(v2.Transform):
    """A random part of the image, resized as `Preprocess` does times a random factor.

    Where it exceeds the image, it has the mean color and is ignored. A part in which one class has more than `max_share` of the
    labeled pixels is drawn again, up to ten times.
    """

    def __init__(self, preprocess: Preprocess, size: Sequence[int], factors: Sequence[float], max_share: float) -> None:
        super().__init__()
        self.preprocess, self.size, self.factors, self.max_share = preprocess, tuple(size), tuple(factors), max_share

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        masks = [each for each in flat_inputs if isinstance(each, tv_tensors.Mask)]
        for _ in range(MAX_DRAWS):
            params = self._draw(*v2.functional.get_size(flat_inputs[0]))
            if self.max_share == 1 or all(_largest_share(_crop_mask(each, params)) <= self.max_share for each in masks):
                break
        return params

    def _draw(self, height: int, width: int) -> dict[str, Any]:
        low, high = self.factors
        # As likely to be enlarged as to be reduced by the same factor.
        factor = low * (high / low) ** float(torch.rand(()))
        scales = [scale * factor for scale in self.preprocess.placement(height, width).scale]
        sides = zip((height, width), scales, self.size, strict=True)
        return {"axes": [_Axis(*each) for each in sides]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return tv_tensors.Mask(_crop_mask(inpt, params))
        rows, columns = params["axes"]
        resized = v2.functional.resized_crop(
            inpt, rows.start, columns.start, rows.length, columns.length, [rows.size, columns.size], antialias=True
        )
        padding = [columns.before, rows.before, columns.after, rows.after]
        return v2.functional.pad(resized, padding, fill=list(self.preprocess.mean_color)) if any(padding) else resized


class _Axis:
    """What a crop of `target` pixels shows of a side of `side` pixels that is scaled: `length` pixels from `start` become `size`
    pixels, with some `before` and `after` them.
    """

    def __init__(self, side: int, scale: float, target: int) -> None:
        length = max(round(target / scale), 1)
        free = side - length
        corner = int(torch.randint(min(free, 0), max(free, 0) + 1, ()))
        self.start, self.length = max(corner, 0), min(corner + length, side) - max(corner, 0)
        self.before = min(round(max(-corner, 0) * target / length), target - 1)
        self.size = max(min(round(self.length * target / length), target - self.before), 1)
        self.after = target - self.before - self.size


def _crop_mask(mask: Tensor, params: dict[str, Any]) -> Tensor:
    """By the nearest pixel: the one that holds the center of the new one. torchvision takes that of the upper left corner."""
    values, padding = mask.as_subclass(Tensor), list[int]()
    for dim, axis in enumerate(params["axes"]):
        centers = (torch.arange(axis.size) + 0.5) * (axis.length / axis.size)
        values = values.index_select(dim, axis.start + centers.floor().long().clamp(max=axis.length - 1))
        padding = [axis.before, axis.after, *padding]
    return functional.pad(values, padding, value=IGNORE)


def _largest_share(mask: Tensor) -> float:
    counts = torch.bincount(mask.flatten(), minlength=IGNORE + 1)[:IGNORE]
    return float(counts.max() / counts.sum().clamp(min=1))
