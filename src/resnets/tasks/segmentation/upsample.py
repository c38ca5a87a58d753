"""From the logits of a decoder to a class for each pixel of the image, a few rows at a time, so that the logits of a large image
never exist at its size.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

STRIP_NUMBERS = 2**22  # logits of a strip at the size of the image: 16 MB


def label_map(logits: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> np.ndarray:
    """uint8 (H, W): the class with the largest logit at each pixel of an image of that size; of equal ones the first.

    Args:
        logits: float32 (K, h, w) for the whole image.
    """
    return label_map_of_parts([logits], logits.shape[1], size, align_corners=align_corners)


def label_map_of_parts(
    parts: Iterable[Tensor], height: int, size: tuple[int, int], *, align_corners: bool = False
) -> np.ndarray:
    """As `label_map`, from consecutive rows (K, m, w) that are `height` rows together."""
    labels = np.empty(size, np.uint8)
    top = 0
    for strip in strips(parts, height, size, align_corners=align_corners):
        labels[top : top + strip.shape[1]] = strip.argmax(0).byte().numpy()
        top += strip.shape[1]
    return labels


def probabilities(logits: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> np.ndarray:
    """float16 (K, H, W): those of the classes at each pixel of an image of that size."""
    found = np.empty((len(logits), *size), np.float16)
    top = 0
    for strip in strips([logits], logits.shape[1], size, align_corners=align_corners):
        found[:, top : top + strip.shape[1]] = strip.softmax(0).half().numpy()
        top += strip.shape[1]
    return found


def strips(parts: Iterable[Tensor], height: int, size: tuple[int, int], *, align_corners: bool) -> Iterator[Tensor]:
    """The logits at the size of the image, (K, n, W) of consecutive rows, as bilinear `torch.nn.functional.interpolate` of the
    whole gives them, from consecutive rows (K, m, w) that are `height` rows together.
    """
    rows, columns = _Positions(height, size[0], align_corners), None
    kept: Tensor | None = None
    first = done = 0  # the first row that is kept, and the number of rows of the image that were given
    for part in parts:
        kept = part if kept is None else torch.cat([kept, part], dim=1)
        columns = columns or _Positions(part.shape[2], size[1], align_corners)
        end = rows.num_known(first + kept.shape[1])
        count = max(STRIP_NUMBERS // (len(part) * size[1]), 1)
        for start in range(done, end, count):
            between = rows.interpolate(kept, dim=1, start=start, end=min(start + count, end), first=first)
            yield columns.interpolate(between, dim=2, start=0, end=size[1])
        done = end
        if done < size[0]:
            needed = int(rows.before[done])
            kept, first = kept[:, needed - first :], needed
    assert done == size[0], (done, size)


class _Positions:
    """Where the pixels of a side lie between those of a smaller or larger one: linear interpolation along one axis."""

    def __init__(self, source: int, length: int, align_corners: bool) -> None:
        centers = torch.arange(length, dtype=torch.float64)
        if align_corners:
            positions = centers * ((source - 1) / max(length - 1, 1))
        else:
            positions = ((centers + 0.5) * (source / length) - 0.5).clamp(min=0)
        self.before = positions.floor().long().clamp(max=source - 1)
        self.after = (self.before + 1).clamp(max=source - 1)
        self.weights = positions - self.before
        self.is_identity = source == length

    def num_known(self, available: int) -> int:
        """The number of pixels that lie within the first `available` ones of the source."""
        return int((self.after < available).sum())

    def interpolate(self, values: Tensor, *, dim: int, start: int, end: int, first: int = 0) -> Tensor:
        """The pixels from `start` to `end`; `values` begin with number `first` of the source."""
        if self.is_identity:
            return values.narrow(dim, start - first, end - start)
        before, after = (values.index_select(dim, each[start:end] - first) for each in (self.before, self.after))
        shape = [-1 if axis == dim else 1 for axis in range(values.ndim)]
        return before.lerp_(after, self.weights[start:end].to(values).view(shape))
