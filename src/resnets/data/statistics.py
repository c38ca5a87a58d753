"""What the training pictures have in common: the mean and spread of their colours, or their mean picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from resnets.data.cache import AHEAD, Decoded, Pictures
from resnets.data.parallel import in_order
from resnets.progress import track

DIGITS = 6  # after the point, of 0..1; finer than a 255th by far, and short in the header of a checkpoint


def channels(pictures: Pictures) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels, for values of 0 to 1."""
    total, squares, count = np.zeros(3), np.zeros(3), 0
    for picture in track(_each(pictures), what="colours", total=len(pictures), unit="pictures"):
        values = picture.reshape(-1, 3).astype(np.float64) / 255
        total += values.sum(0)
        squares += (values**2).sum(0)
        count += len(values)
    mean = total / count
    # A channel that is the same everywhere must not be divided by nothing.
    std = np.sqrt(np.maximum(squares / count - mean**2, (1 / 255) ** 2))
    return _rounded(mean), _rounded(std)


def mean_picture(pictures: Pictures) -> tuple[float, ...]:
    """The mean of pictures of one size, for values of 0 to 1, as 3 * h * w numbers in the order channel, row, column."""
    total = np.zeros(pictures[0].shape)
    for picture in track(_each(pictures), what="mean picture", total=len(pictures), unit="pictures"):
        total += picture
    return _rounded(total.transpose(2, 0, 1) / (255 * len(pictures)))


def _each(pictures: Pictures) -> Iterator[np.ndarray]:
    if isinstance(pictures, Decoded):
        return in_order(pictures.prepare, pictures.paths, workers=None, ahead=AHEAD)
    return (pictures[number] for number in range(len(pictures)))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values.ravel())
