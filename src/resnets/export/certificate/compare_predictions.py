"""How far the masks or boxes that an exported file predicts are from those of its checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from resnets.export.certificate.compare_outputs import Difference

MASK_LIMIT = 1e-3  # part of the pixels of an image with another class
BOX_LIMIT = 0.1  # pixels
SCORE_MARGIN = 1e-3  # above the threshold: objects at the threshold itself come and go with rounding


def differences(found: Sequence[Any], expected: Sequence[Any], threshold: float) -> tuple[Difference, ...]:
    """The largest difference over all images; nothing for tasks without masks or boxes.

    Args:
        threshold: of the scores of objects.
    """
    if hasattr(expected[0], "mask"):
        return (
            _worst(
                "pixels of another class", [_pixels(*pair) for pair in zip(found, expected, strict=True)], MASK_LIMIT
            ),
        )
    if hasattr(expected[0], "objects"):
        values = [_distance(*pair, threshold + SCORE_MARGIN) for pair in zip(found, expected, strict=True)]
        return (_worst("boxes in pixels", values, BOX_LIMIT),)
    return ()


def _worst(name: str, values: Sequence[float], limit: float) -> Difference:
    worst = int(np.argmax(values))
    return Difference(name, values[worst], limit, f"the prediction of image {worst + 1}")


def _pixels(found: Any, expected: Any) -> float:
    return float(np.mean(found.mask != expected.mask))


def _distance(found: Any, expected: Any, threshold: float) -> float:
    """The largest distance of the sides of a certain object of either from the nearest object of the other with its label."""
    distances = [0.0]
    for ones, others in ((found.objects, expected.objects), (expected.objects, found.objects)):
        for one in ones:
            if one.score >= threshold:
                boxes = [np.abs(np.subtract(one.box, other.box)).max() for other in others if other.label == one.label]
                distances.append(float(min(boxes, default=math.inf)))
    return max(distances)
