"""How far the outputs of an exported file are from those of its checkpoint, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnets.inference.exported.metadata import LOGITS, PROBABILITIES

Outputs = Mapping[str, np.ndarray]  # by name, each with the images as first dimension

# Of the largest number of an output. Honest exports were seen at 1e-6, the smallest of 17 faults (tests/sabotages.py) at 1.4e-3.
RELATIVE_LIMIT = 1e-4
PROBABILITY_LIMIT = 1e-3  # absolute
# Of images that the file resizes, from Pillow's result.
GRAY_LEVELS_LIMIT = 1
CHANGED_LIMIT = 0.06


@dataclass(frozen=True)
class Difference:
    """The largest difference of an output.

    Attributes:
        output: its name.
        value: relative to the largest number of the output, or for probabilities absolute; infinite where numbers are missing or
            the shape is another.
        where: the batch in which it was seen.
    """

    output: str
    value: float
    limit: float
    where: str = ""

    @property
    def within_limit(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.output} {self.value:.2g} (limit {self.limit:.2g})"

    def to_dict(self) -> dict[str, Any]:
        value = self.value if math.isfinite(self.value) else None
        return {"output": self.output, "difference": value, "limit": self.limit, "where": self.where}


@dataclass(frozen=True)
class Measured:
    """The outputs of a batch, `expected` those of the checkpoint.

    Attributes:
        where: the batch and its memory layout in words.
    """

    where: str
    found: Outputs
    expected: Outputs


def differences(
    batches: Sequence[Measured], limits: Sequence[Mapping[str, float]] | None = None
) -> tuple[Difference, ...]:
    """The difference of each output that is the largest part of its limit, over all images of all batches.

    Args:
        limits: of each batch and output; None for those above.
    """
    found = []
    for name in batches[0].expected:
        values = relative(name, batches)
        allowed = [limit(name)] * len(batches) if limits is None else [each[name] for each in limits]
        worst = int(np.argmax(np.divide(values, allowed)))
        found.append(Difference(name, values[worst], allowed[worst], batches[worst].where))
    return tuple(found)


def limit(name: str) -> float:
    """That of an output."""
    return PROBABILITY_LIMIT if name == PROBABILITIES else RELATIVE_LIMIT


def relative(name: str, batches: Sequence[Measured]) -> list[float]:
    """The largest difference of an output in each batch, as `Difference.value`."""
    scale = 1.0
    if name != PROBABILITIES:
        scale = max(float(np.abs(batch.expected[name]).max(initial=0)) for batch in batches)
    values = [_largest(batch.found.get(name), batch.expected[name]) for batch in batches]
    return [value / scale if scale else value and math.inf for value in values]


def gray_levels(images: Sequence[Measured]) -> tuple[Difference, ...]:
    """The largest difference of resized images in gray levels, and the part of their values that differ at all."""
    pairs = [(image.found[name], values) for image in images for name, values in image.expected.items()]
    levels = [_largest(*pair) for pair in pairs]
    worst = int(np.argmax(levels))
    changed = sum(int((found != expected).sum()) for found, expected in pairs) / sum(pair[1].size for pair in pairs)
    return (
        Difference("gray levels", levels[worst], GRAY_LEVELS_LIMIT, images[worst].where),
        Difference("part of the values that differ", changed, CHANGED_LIMIT, "all images"),
    )


def _largest(found: np.ndarray | None, expected: np.ndarray) -> float:
    if found is None or found.shape != expected.shape or not np.isfinite(found).all():
        return math.inf
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0))


def same_labels(batches: Sequence[Measured]) -> int | None:
    """The number of images whose highest logit is that of the same class; None where the logits are not one for each class."""
    if batches[0].expected.get(LOGITS, np.empty(0)).ndim != 2:
        return None
    return sum(
        int((batch.found[LOGITS].argmax(1) == batch.expected[LOGITS].argmax(1)).sum())
        for batch in batches
        if batch.found[LOGITS].shape == batch.expected[LOGITS].shape
    )
