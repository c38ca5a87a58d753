"""The masks of samples as targets of a training, and the number of pixels of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from resnets.data.datasets.dataset import Sample
from resnets.data.loading.thread_pool import ordered_map


class MaskTargets(Sequence[Any]):
    """The mask of each sample, a `tv_tensors.Mask`, uint8 (H, W), which is read on access. A slice is a `MaskTargets`."""

    def __init__(self, samples: Sequence[Sample], class_names: Sequence[str]) -> None:
        self.samples, self.class_names = samples, tuple(class_names)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return MaskTargets(self.samples[index], self.class_names)
        from torchvision import tv_tensors  # here, since it takes two seconds

        return tv_tensors.Mask(torch.from_numpy(self.read(index)))

    def read(self, index: int) -> np.ndarray:
        """uint8 (H, W): the index of the class of each pixel, or IGNORE."""
        mask: np.ndarray = self.samples[index].target.read(self.class_names)
        return mask


def count_class_pixels(samples: Sequence[Sample], class_names: Sequence[str]) -> np.ndarray:
    """int64 (N, K): the number of pixels of each class in each mask."""
    targets = MaskTargets(samples, class_names)

    def count(index: int) -> np.ndarray:
        return np.bincount(targets.read(index).ravel(), minlength=256)[: len(class_names)]

    return np.stack(list(ordered_map(count, range(len(targets)), workers=None, ahead=64)))
