"""The images of an index that are nearest to an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnets import atomic_write
from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.message_format import printable
from resnets.progress import log
from resnets.tasks import load_model
from resnets.tasks.embeddings import nearest
from resnets.tasks.embeddings.embedding_index import Index, unit_length
from resnets.tasks.inputs.read_image import ImageInput
from resnets.weights import find_weights

SHEET_SUFFIXES = (".png", ".jpg", ".jpeg")
SHEET_LIMIT = 299  # images besides the query, which fill 50 rows; matplotlib draws no figure of 65,536 pixels


@dataclass(frozen=True)
class Hit:
    """An image of the index, and the cosine of the angle between its vector and that of the query, from -1 to 1."""

    path: str
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "similarity": self.similarity}

    def __str__(self) -> str:
        """`0.9731  photos/rose.jpg`."""
        return printable(f"{self.similarity:.4f}  {self.path}")


def search_index(
    index: Index, query: ImageInput, *, top_k: int = 10, checkpoint: str | Path | None = None, device: str = "auto"
) -> list[Hit]:
    """The images of the index that are nearest to an image, the nearest first; the query itself too, if it is indexed.

    Args:
        checkpoint: where the model of the index is now, if it is no longer where it was.

    Raises:
        UserError: the image cannot be read, `top_k` is out of range, or the weights are others than those of the index.
    """
    if top_k < 1:
        raise UserError(f"`top_k` must be 1 or more; received {top_k}.")
    return hits(index, query_vectors(index, [query], checkpoint=checkpoint, device=device), top_k)[0]


def query_vectors(
    index: Index, queries: Sequence[ImageInput], *, checkpoint: str | Path | None = None, device: str = "auto"
) -> np.ndarray:
    """Vectors of images, computed as those of the index, divided by their length: float32 (Q, E). Raises as `search_index`."""
    path = checkpoint or index.checkpoint
    if checkpoint is None and os.path.isabs(index.checkpoint) and not os.path.lexists(index.checkpoint):
        raise UserError(f"The model of the index, '{path}', is not there any more; name its place now as `checkpoint`.")
    if sha256(find_weights.find_file(path)) != index.checkpoint_sha256:
        raise UserError(
            f"The weights '{path}' are not those that the index was made with, so their vectors cannot be compared. Name the "
            "original file as `checkpoint`, or embed the images again."
        )
    found = load_model.load(path, device).embed(queries, layer=index.layer)
    for name, error in found.errors.items():
        raise UserError(f"'{name}' {error}")
    return unit_length(index.transform(found.vectors))


def hits(index: Index, queries: np.ndarray, top_k: int) -> list[list[Hit]]:
    """The nearest images of the index for each query, float32 (Q, E) of unit length."""
    similarities, rows = nearest.nearest(index.unit_vectors, queries, top_k)
    return [
        [Hit(index.paths[row], float(value)) for row, value in zip(chosen, values, strict=True)]
        for chosen, values in zip(rows.tolist(), similarities.tolist(), strict=True)
    ]


def check_sheet(path: str | Path) -> None:
    """Raise UserError for a file that is no image, or cannot be written."""
    if Path(path).suffix.lower() not in SHEET_SUFFIXES:
        raise UserError(f"`sheet` is a file that ends in {', '.join(SHEET_SUFFIXES)}; received '{path}'.")
    atomic_write.check_file_writable(path)


def draw_sheet(index: Index, query: str | Path, found: Sequence[Hit], path: str | Path) -> None:
    """Draw the query and the images that were found, at most `SHEET_LIMIT`, in the order of their similarity."""
    from resnets.report.figures import image_grid  # imports matplotlib
    from resnets.report.figures.canvas import MUTED
    from resnets.report.figures.image_grid import Caption, Tile

    def tile(file: str | Path, path: str | Path, value: str) -> Tile:
        return Tile(file, [Caption(Path(path).name, value), Caption(Path(path).parent.name, color=MUTED)])

    if len(found) > SHEET_LIMIT:
        log(f"'{path}' shows the nearest {SHEET_LIMIT} of the {len(found):,} images")
    tiles = [tile(query, query, "query")]
    tiles += [tile(index.file_of(hit.path), hit.path, f"{hit.similarity:.3f}") for hit in found[:SHEET_LIMIT]]
    image_grid.draw(tiles, Path(path))
