"""Boundary IoU (Cheng et al. 2021): the pixels near the boundaries of the classes, counted for each image."""

import numpy as np
import torch
from torch import Tensor

from resnets.data.mask_datasets.mask_classes import IGNORE

BOUNDARY = 0.02  # of the diagonal of the image: the distance up to which a pixel is near the boundary of its class


def boundary_counts(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> Tensor:
    """As a row of `confusion.class_counts`, int64 (3, K), of pixels near the boundary of their class.

    The edge of the image is a boundary of each class, and so is that of ignored pixels.
    """
    height, width = truth.shape
    distance = max(round(BOUNDARY * (height**2 + width**2) ** 0.5), 1)
    predicted = np.where(truth == IGNORE, IGNORE, predicted)
    true_near, predicted_near = near_boundary(truth, distance), near_boundary(predicted, distance)
    shared = true_near & predicted_near & (truth == predicted)
    parts = truth[shared], truth[true_near], predicted[predicted_near]
    counts = [np.bincount(labels, minlength=256)[:num_classes] for labels in parts]
    return torch.from_numpy(np.stack(counts))


def near_boundary(labels: np.ndarray, distance: int) -> np.ndarray:
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
