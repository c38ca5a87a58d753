"""Random masks."""

from collections.abc import Callable

import numpy as np
import pytest

IGNORE = 255


def make_blobs(seed: int, height: int, width: int, classes: int = 4, *, ignored: bool = True) -> np.ndarray:
    """A mask of areas of some pixels, uint8 (height, width), with ignored ones."""
    random = np.random.default_rng(seed)
    coarse = random.integers(classes, size=(height // 6 + 1, width // 6 + 1)).astype(np.uint8)
    mask = np.kron(coarse, np.ones((6, 6), np.uint8))[:height, :width]
    if ignored:
        mask[random.random((height, width)) < 0.02] = IGNORE
    return mask


@pytest.fixture
def blobs() -> Callable[..., np.ndarray]:
    """See `make_blobs`."""
    return make_blobs
