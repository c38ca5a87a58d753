"""The augmentation of an image with its objects, by torchvision.transforms.v2."""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.augmentation import visible_objects
from resnets.recipes.recipe import Augment
from resnets.tasks.detection.config import DetectionConfig


def train_transform(config: DetectionConfig, section: Augment, preprocess: Preprocess) -> v2.Transform:
    """A function of a uint8 image and its target (`ObjectTargets`), which returns both at the size for the network.

    `section.flip` and `section.jitter` are used; `preprocess` resizes by "fit".
    """
    fills = {tv_tensors.Mask: 0, "others": list(preprocess.mean_color)}
    steps: list[v2.Transform] = []
    if section.jitter:
        steps.append(v2.ColorJitter(section.jitter, section.jitter, section.jitter))
    if config.zoom_out:
        steps.append(v2.RandomZoomOut(fill=fills, side_range=(1.0, 2.0), p=config.zoom_out))
    if config.object_crop:
        steps.append(_ObjectCrop(config.object_crop))
    if section.flip:
        steps.append(v2.RandomHorizontalFlip(section.flip))
    steps += [FitJitter(preprocess, config.scale_jitter), visible_objects()]
    return v2.Compose(steps)


class _ObjectCrop(v2.Transform):
    """RandomIoUCrop, with a probability, where there are objects."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability, self.crop, self.drop = probability, v2.RandomIoUCrop(), visible_objects()

    def forward(self, *inputs: Any) -> Any:
        chosen = float(torch.rand(())) < self.probability
        return self.drop(self.crop(*inputs)) if chosen and len(inputs[1]["boxes"]) else inputs


class FitJitter(v2.Transform):
    """Resize as `Preprocess` does, times a random factor; a random part of what is then larger than `preprocess.size`."""

    def __init__(self, preprocess: Preprocess, factors: Sequence[float]) -> None:
        super().__init__()
        self.preprocess, self.factors = preprocess, tuple(factors)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        low, high = self.factors
        height, width = v2.functional.get_size(flat_inputs[0])
        fitted = self.preprocess.placement(height, width).size
        # As likely to be enlarged as to be reduced by the same factor.
        factor = low * (high / low) ** float(torch.rand(()))
        size = [max(round(side * factor), 1) for side in fitted]
        crop = [min(side, limit) for side, limit in zip(size, self.preprocess.size, strict=True)]
        corner = [int(torch.randint(side - length + 1, ())) for side, length in zip(size, crop, strict=True)]
        return {"size": size, "crop": crop, "corner": corner}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        resized = v2.functional.resize(inpt, params["size"], antialias=True)
        if params["crop"] == params["size"]:
            return resized
        return v2.functional.crop(resized, *params["corner"], *params["crop"])
