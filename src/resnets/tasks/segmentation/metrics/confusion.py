"""What an evaluation counts in the pixels of each image: a confusion matrix, and the pixels near the borders of the classes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from resnets.data.mask_datasets.mask_classes import IGNORE

BORDER = 0.02  # of the diagonal of the image: the distance up to which a pixel is near the border of its class


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


def border_counts(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Tensor:
    """As a row of `class_counts`, int64 (3, K), of pixels near the border of their class (boundary IoU, Cheng et al. 2021).

    The border of the image is one of each class, and so is that of ignored pixels.
    """
    height, width = truth.shape
    distance = max(round(BORDER * (height**2 + width**2) ** 0.5), 1)
    predicted = np.where(truth == IGNORE, IGNORE, predicted)
    true_near, predicted_near = near_border(truth, distance), near_border(predicted, distance)
    shared = true_near & predicted_near & (truth == predicted)
    parts = truth[shared], truth[true_near], predicted[predicted_near]
    counts = [np.bincount(labels, minlength=256)[:num_classes] for labels in parts]
    return torch.from_numpy(np.stack(counts))


def near_border(labels: np.ndarray, distance: int) -> np.ndarray:
    """bool (H, W): whether the square of 2 * distance + 1 pixels around a pixel has another class, or leaves the image."""
    near = _window(np.maximum, labels, distance) != _window(np.minimum, labels, distance)
    for edge in (near[:distance], near[-distance:], near[:, :distance], near[:, -distance:]):
        edge[:] = True
    return near


def _window(reduce: np.ufunc, values: np.ndarray, distance: int) -> np.ndarray:
    """The largest or least value in the square around each pixel, by windows that double in length (max_pool2d takes 20 times
    as long).
    """
    length = 2 * distance + 1
    for axis in (0, 1):
        padding = [(distance, distance) if each == axis else (0, 0) for each in (0, 1)]
        values, done = np.moveaxis(np.pad(values, padding, mode="edge"), axis, 0), 1
        while done < length:
            step = min(done, length - done)
            values, done = reduce(values[:-step], values[step:]), done + step
        values = np.moveaxis(values, 0, axis)
    return values
