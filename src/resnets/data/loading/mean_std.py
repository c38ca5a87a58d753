"""Mean and standard deviation of the training images by channel, or their mean image."""

from collections.abc import Iterator

import numpy as np

from resnets.data.loading.ram_cache import AHEAD, Images, LazyImages
from resnets.data.loading.thread_pool import ordered_map
from resnets.progress import progress_bar

DIGITS = 6  # after the decimal point, of 0..1; much finer than 1/255, and short in the header of a checkpoint


def channel_mean_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels, for values of 0 to 1."""
    total, squares, count = np.zeros(3), np.zeros(3), 0
    for image in progress_bar(_iterate(images), description="colors", total=len(images), unit="images"):
        values = image.reshape(-1, 3).astype(np.float64) / 255
        total += values.sum(0)
        squares += (values**2).sum(0)
        count += len(values)
    mean = total / count
    # Not 0 for a constant channel, since values are divided by it.
    std = np.sqrt(np.maximum(squares / count - mean**2, (1 / 255) ** 2))
    return _rounded(mean), _rounded(std)


def mean_image(images: Images) -> tuple[float, ...]:
    """The mean of images of one size, for values of 0 to 1, as 3 * h * w numbers in the order channel, row, column."""
    total = np.zeros(images[0].shape)
    for image in progress_bar(_iterate(images), description="mean image", total=len(images), unit="images"):
        total += image
    return _rounded(total.transpose(2, 0, 1) / (255 * len(images)))


def _iterate(images: Images) -> Iterator[np.ndarray]:
    if isinstance(images, LazyImages):
        return ordered_map(images.prepare, images.paths, workers=None, ahead=AHEAD)
    return (images[index] for index in range(len(images)))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values.ravel())
