"""Vectors of images, with the images that could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Embedding(NamedTuple):
    """The vector of one image, float32 (D,); None if it could not be read, for the reason `error`."""

    path: str
    vector: np.ndarray | None
    error: str | None = None


@dataclass(frozen=True)
class Embeddings:
    """Vectors of images.

    Attributes:
        vectors: float32 (N, D).
        paths: of the same N images; the index in brackets, such as "[0]", of an image that is not a file.
        errors: the images that could not be read, and why.
    """

    vectors: np.ndarray
    paths: tuple[str, ...]
    errors: Mapping[str, str]


def collect(embeddings: Iterable[Embedding]) -> Embeddings:
    """All of them, in their order."""
    vectors: list[np.ndarray] = []
    paths: list[str] = []
    errors: dict[str, str] = {}
    for each in embeddings:
        if each.vector is None:
            errors[each.path] = each.error or ""
        else:
            vectors.append(each.vector)
            paths.append(each.path)
    stacked = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
    return Embeddings(stacked, tuple(paths), errors)
