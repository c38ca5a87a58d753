"""An index: the vectors of images with their paths, and with what computed them, so that a query is computed alike."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from resnets.tasks.embeddings.pca import Projection


@dataclass(frozen=True)
class Index:
    """What `embed` writes, and `search` reads.

    Attributes:
        vectors: float32 (N, E), after the projection and the division by their length, if there are such.
        paths: of the images, as they were given.
        folder: the working folder from which relative paths lead to the images.
        checkpoint: the path or the name of the model.
        checkpoint_sha256: of its file.
        layer: "pooled" or the name of a layer.
        preprocess: of the model, for information; that of the checkpoint is used.
        l2: whether each vector was divided by its length.
        projection: of the vectors of the layer; None for none.
    """

    vectors: np.ndarray
    paths: tuple[str, ...]
    folder: str
    checkpoint: str
    checkpoint_sha256: str
    layer: str
    preprocess: Mapping[str, Any]
    l2: bool = False
    projection: Projection | None = None

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors of the layer, float32 (N, D), as those of the index: float32 (N, E)."""
        if self.projection is not None:
            vectors = self.projection(vectors)
        return unit_length(vectors) if self.l2 else vectors

    @cached_property
    def unit_vectors(self) -> np.ndarray:
        """The vectors divided by their length, float32 (N, E); zero stays zero."""
        return self.vectors if self.l2 else unit_length(self.vectors)

    def file_of(self, path: str) -> str:
        """Where the image of one of `paths` is."""
        return os.path.join(self.folder, path)

    def vectors_of(self, paths: Sequence[str]) -> np.ndarray:
        """The vectors divided by their length of these images, float32 (N, E); NaN for one that is not in the index.

        Images are found by their absolute path, with links followed.
        """
        rows = {os.path.realpath(self.file_of(path)): row for row, path in enumerate(self.paths)}
        found = np.full((len(paths), self.vectors.shape[1]), np.nan, np.float32)
        for position, path in enumerate(paths):
            row = rows.get(os.path.realpath(path))
            if row is not None:
                found[position] = self.unit_vectors[row]
        return found


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its Euclidean length, float32; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
