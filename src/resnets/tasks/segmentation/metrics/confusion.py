"""The confusion matrix of the pixels of each image."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resnets.data.mask_datasets.mask_classes import IGNORE


def image_cells(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Tensor:
    """The cells of the confusion matrix of one image that are not 0, int64 (n, 2): true class x K + predicted class, and the
    number of pixels. Ignored pixels are not counted.

    Args:
        truth: uint8 (H, W), with IGNORE.
        predicted: uint8 (H, W).
    """
    labeled = truth != IGNORE
    counts = np.bincount(truth[labeled].astype(np.int64) * num_classes + predicted[labeled], minlength=num_classes**2)
    cells = np.flatnonzero(counts)
    return torch.from_numpy(np.stack([cells, counts[cells]], axis=1))


def matrix(images: Sequence[Tensor], num_classes: int) -> np.ndarray:
    """The confusion matrix of all images, int64 (K, K): a row is a true class, a column a predicted one."""
    total = np.zeros(num_classes**2, np.int64)
    for cells, counts in (image.numpy().T for image in images):
        total[cells] += counts
    return total.reshape(num_classes, num_classes)


def class_counts(images: Sequence[Tensor], num_classes: int) -> np.ndarray:
    """int64 (N, 3, K): of each image and class, the pixels that are right, those that are true, and those predicted."""
    found = np.zeros((len(images), 3, num_classes), np.int64)
    for each, image in zip(found, images, strict=True):
        cells, counts = image.numpy().T
        true, predicted = np.divmod(cells, num_classes)
        right = true == predicted
        each[0, true[right]] = counts[right]
        np.add.at(each[1], true, counts)
        np.add.at(each[2], predicted, counts)
    return found
