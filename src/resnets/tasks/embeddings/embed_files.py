"""Compute the vectors of image files by a checkpoint, and write them as an index."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnets.data.datasets.dataset import UnusedFiles
from resnets.errors import JobError, UserError
from resnets.message_format import pluralize
from resnets.progress import log, progress_bar
from resnets.tasks import load_model
from resnets.tasks.embeddings import embedding_results, index_file
from resnets.tasks.embeddings.embedding_index import Index
from resnets.tasks.embeddings.embedding_results import Embedding
from resnets.tasks.embeddings.feature_extractor import POOLED
from resnets.tasks.embeddings.pca import check_size, fit_pca
from resnets.tasks.inputs import image_paths, unread_images


@dataclass(frozen=True)
class EmbedResult:
    """What `embed` computed.

    Attributes:
        index: the vectors of the images that could be read.
        out: the file that was written; None for none.
        errors: the other images, and why.
        inaccessible: folders that could not be listed, and why.
        seconds: from the first image to the last.
    """

    index: Index
    out: str | None
    errors: dict[str, str]
    inaccessible: dict[str, str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A summary for JSON, without the vectors."""
        index = self.index
        return {
            "images": len(index.paths), "dimensions": index.vectors.shape[1], "layer": index.layer, "l2": index.l2,
            "explained_variance": None if index.projection is None else index.projection.explained,
            "checkpoint": index.checkpoint, "checkpoint_sha256": index.checkpoint_sha256, "out": self.out,
            "errors": [{"path": path, "error": error} for path, error in self.errors.items()],
            "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def check_all_read(self) -> None:
        """Raise JobError if some images or folders could not be read."""
        count = len(self.index.paths) + len(self.errors)
        unread_images.raise_for(list(self.errors), count, self.inaccessible)


def embed_files(
    checkpoint: str | Path, paths: Sequence[str], *, out: str | Path | None = None, layer: str | None = None,
    pca: int | None = None, l2: bool = False, batch: int = 32, workers: int | None = None, device: str = "auto",
    backend: str = "auto", precision: str = "auto",
) -> EmbedResult:  # fmt: skip
    """Embed the images at `paths` (files, folders, patterns, or "-" for a list on stdin), and write them to `out`.

    Raises:
        UserError: there is no such checkpoint or layer, it changes while it is read, there is no image at all, a number is out of
            range, or `out` cannot be written.
        JobError: none of the images can be read, or the disk is full.
    """
    if out is not None:
        index_file.check_output(out)
    if pca is not None and pca < 1:
        raise UserError(f"`pca` must be 1 or more; received {pca}.")
    model, digest = load_model.load_hashed(checkpoint, device, backend=backend, precision=precision)
    unused = UnusedFiles()
    images = image_paths.find_images(paths, sys.stdin, unused)
    start = time.monotonic()
    stream = model.stream_embeddings(images, layer=layer, batch=batch, workers=workers)
    if pca is not None:
        stream = _with_components_checked(stream, len(images), pca)
    found = embedding_results.collect(progress_bar(stream, description="embedding", total=len(images), unit="images"))
    seconds = time.monotonic() - start
    for path, error in found.errors.items():
        log(f"'{path}' {error}")
    if not found.paths:
        unread_images.raise_for(list(found.errors), len(images), unused.inaccessible)
        raise JobError("None of the images can be read.")
    index = Index(
        vectors=found.vectors,
        paths=found.paths,
        folder=os.getcwd(),
        checkpoint=os.path.abspath(checkpoint) if os.path.lexists(checkpoint) else str(checkpoint),
        checkpoint_sha256=digest,
        layer=layer or POOLED,
        preprocess=model.preprocess.to_dict(),
    )
    index = _transformed(index, pca, l2)
    length = index.vectors.shape[1]
    if out is not None:
        index_file.write(index, out)
    written = "" if out is None else f"; written: '{out}'"
    log(f"{pluralize(len(index.paths), 'image')}, {length:,} numbers each, in {seconds:.1f} s{written}")
    return EmbedResult(index, None if out is None else str(out), dict(found.errors), dict(unused.inaccessible), seconds)


def _with_components_checked(stream: Iterator[Embedding], num_images: int, pca: int) -> Iterator[Embedding]:
    """`stream`; raises UserError at the first vector, not after hours, where there are too few images or numbers for `pca`."""
    for each in stream:
        if each.vector is not None:
            check_size(num_images, len(each.vector), pca)
        yield each


def _transformed(index: Index, pca: int | None, l2: bool) -> Index:
    fitted = None if pca is None else fit_pca(index.vectors, pca)
    if fitted is not None:
        log(f"pca: {pca} components have {fitted.explained:.1%} of the variance")
    values = vars(index) | {"l2": l2, "projection": fitted}
    plain = Index(**values)
    return Index(**values | {"vectors": plain.transform(index.vectors)})
