"""How far the outputs of an exported file are from those of its checkpoint, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from resnets.inference.exported.metadata import LOGITS, PROBABILITIES

Outputs = Mapping[str, np.ndarray]  # by name, each with the images as first dimension

# Of the largest number of an output, or of a class of the logits. Honest exports were seen at 1e-6;
# `tests/soak/exports.py faults` measures 17 faults.
RELATIVE_LIMIT = 1e-4
PROBABILITY_LIMIT = 1e-3  # absolute
ROUNDING_FACTOR = 3  # times what the rounding of float32 does to an output is allowed, if it is more than the limit
SOFTMAX = "softmax of logits"
# Fractions of the largest logits: numbers below the first are too small for the errors of float32 to be measured by them; the
# second is as much of RELATIVE_LIMIT as these errors.
SMALL_CLASS, ROUNDED = 0.1, 0.01
# Of images that the file resizes, from Pillow's result.
GRAY_LEVELS_LIMIT = 2
CHANGED_LIMIT = 0.06


@dataclass(frozen=True)
class Difference:
    """The largest difference of an output.

    Attributes:
        output: its name.
        value: relative to the largest number of the output, for logits to that of their class, or for probabilities absolute;
            infinite where numbers are missing or the shape is another.
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
class OutputPair:
    """The outputs of a batch, `expected` those of the checkpoint.

    Attributes:
        where: the batch and its memory layout in words.
    """

    where: str
    found: Outputs
    expected: Outputs


def differences(
    batches: Sequence[OutputPair],
    limits: Sequence[Mapping[str, float]] | None = None,
    rounding: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Difference, ...]:
    """The difference of each output that is the largest part of its limit, over all images of all batches.

    Args:
        limits: of each batch and output; None for those above, and for labels that differ only where two classes are equal but
            for rounding.
        rounding: what the rounding of float32 alone does to outputs, as `relative` measures it.
    """
    found = []
    for name in batches[0].expected:
        values = relative(name, batches)
        allowed = [limit(name, rounding)] * len(batches) if limits is None else [each[name] for each in limits]
        worst = int(np.argmax(np.divide(values, allowed)))
        found.append(Difference(name, values[worst], allowed[worst], batches[worst].where))
    return tuple(found) if limits is not None else (*found, *_of_labels(batches, limit(LOGITS, rounding)))


def with_softmax(outputs: Outputs) -> Outputs:
    """The outputs, and where they are the logits of images alone, their softmax, which a program makes of them."""
    logits = outputs.get(LOGITS)
    if logits is None or logits.ndim != 2 or len(outputs) > 1:
        return outputs
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return {**outputs, SOFTMAX: powers / powers.sum(1, keepdims=True)}


def limit(name: str, rounding: Mapping[str, float] = MappingProxyType({})) -> float:
    """The limit of the differences of an output: absolute for probabilities, relative for others; see `differences`."""
    least = PROBABILITY_LIMIT if name in (PROBABILITIES, SOFTMAX) else RELATIVE_LIMIT
    return max(least, ROUNDING_FACTOR * rounding.get(name, 0))


def relative(name: str, batches: Sequence[OutputPair]) -> list[float]:
    """The largest difference of an output in each batch, as `Difference.value`."""
    scale = _scale(name, [batch.expected[name] for batch in batches])
    return [_largest(batch.found.get(name), batch.expected[name], scale) for batch in batches]


def _scale(name: str, expected: Sequence[np.ndarray]) -> np.ndarray:
    """What the differences of an output are divided by; for logits (N, K, …) one number for each class, (K, 1, …).

    A class that is masked by a bias of -1e6 says nothing of how exact the others are. So a class has the scale of its own
    largest logit; if that is small, the one by which an ordinary class changes from image to image, or SMALL_CLASS of the
    largest of an ordinary class.
    """
    if name in (PROBABILITIES, SOFTMAX):
        return np.ones(1)
    if name != LOGITS or expected[0].ndim < 2:
        return np.array([max(float(np.abs(each).max(initial=0)) for each in expected)])
    magnitudes, changes = _of_classes(expected)
    scales = np.maximum(magnitudes, max(changes, SMALL_CLASS * _lower_median(magnitudes)))
    return scales.reshape(-1, *(1,) * (expected[0].ndim - 2))


def _of_classes(logits: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """The largest magnitude of each class, and the range of the values of an ordinary one over all images."""
    axes = (0, *range(2, logits[0].ndim))
    highest = np.max([each.max(axes) for each in logits], 0).astype(np.float64)
    lowest = np.min([each.min(axes) for each in logits], 0).astype(np.float64)
    return np.maximum(np.abs(highest), np.abs(lowest)), _lower_median(highest - lowest)


def _lower_median(values: np.ndarray) -> float:
    """The median; of two values the lower."""
    return float(np.quantile(values, 0.5, method="lower"))


def _of_labels(batches: Sequence[OutputPair], logits_limit: float) -> Iterator[Difference]:
    """Where a label is another: by how much the logit of the right one is higher in the reference; nothing if all are the same.

    The margin is relative to what an ordinary class changes by from image to image, so no large bias can hide it.
    """
    expected = [batch.expected.get(LOGITS, np.empty(0)) for batch in batches]
    if expected[0].ndim != 2:
        return
    changes = _of_classes(expected)[1]
    margins = []
    for batch, right in zip(batches, expected, strict=True):
        found = batch.found.get(LOGITS)
        if found is None or found.shape != right.shape or not np.isfinite(found).all():
            continue  # which `relative` tells
        for row, label in zip(right.astype(np.float64), found.argmax(1), strict=True):
            if margin := row.max() - row[label]:
                scale = max(changes, ROUNDED * max(abs(row.max()), abs(row[label])))
                margins.append((float(margin / scale), batch.where))
    if margins:
        value, where = max(margins)
        yield Difference("margin of another label", value, 2 * logits_limit, where)


def gray_levels(images: Sequence[OutputPair]) -> tuple[Difference, ...]:
    """The largest difference of resized images in gray levels, and the part of their values that differ at all."""
    pairs = [(image.found[name], values) for image in images for name, values in image.expected.items()]
    levels = [_largest(*pair, np.ones(1)) for pair in pairs]
    worst = int(np.argmax(levels))
    changed = sum(int((found != expected).sum()) for found, expected in pairs) / sum(pair[1].size for pair in pairs)
    return (
        Difference("gray levels", levels[worst], GRAY_LEVELS_LIMIT, images[worst].where),
        Difference("part of the values that differ", changed, CHANGED_LIMIT, "all images"),
    )


def _largest(found: np.ndarray | None, expected: np.ndarray, scale: np.ndarray) -> float:
    if found is None or found.shape != expected.shape or not np.isfinite(found).all():
        return math.inf
    distances = np.abs(found.astype(np.float64) - expected)
    parts = np.divide(distances, scale, out=np.where(distances > 0, math.inf, 0.0), where=scale > 0)
    return float(parts.max(initial=0))


def same_labels(batches: Sequence[OutputPair]) -> int | None:
    """The number of images whose highest logit is that of the same class; None where the logits are not one for each class."""
    if batches[0].expected.get(LOGITS, np.empty(0)).ndim != 2:
        return None
    return sum(
        int((batch.found[LOGITS].argmax(1) == batch.expected[LOGITS].argmax(1)).sum())
        for batch in batches
        if batch.found[LOGITS].shape == batch.expected[LOGITS].shape
    )
