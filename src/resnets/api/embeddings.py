"""`resnets.embed` and `resnets.search`: vectors of images, and the images that are most like another."""

from collections.abc import Iterable
from pathlib import Path

from resnets.tasks.embeddings import index_file, search_index
from resnets.tasks.embeddings.embed_files import EmbedResult, embed_files
from resnets.tasks.embeddings.index import Index
from resnets.tasks.embeddings.search_index import Hit


def embed(
    checkpoint: str | Path,
    paths: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    layer: str | None = None,
    pca: int | None = None,
    l2: bool = False,
    batch: int = 32,
    workers: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
) -> EmbedResult:
    """Turn images into vectors by a trained model of any task, at the speed of `predict`.

    Args:
        checkpoint: a checkpoint, a run directory, or a name of `resnets weights list`.
        paths: images, folders or patterns.
        out: an index file to write, .npz or .parquet; None for none.
        layer: None for what the head of a classifier receives, or for another task the average of the backbone's last map; or the
            name of a layer, such as "stage3", whose feature maps are averaged over their positions.
        pca: the number of principal components, of these images, to keep; None for the vectors as they are.
        l2: divide each vector by its length.
        batch: number of images that go through the network together.
        workers: number of threads that read images; None for one per processor.
        device, backend, precision: as in `resnets.load`.

    Returns:
        The result: `.index.vectors`, float32 (N, D), `.index.paths`, and `.errors` of the images that could not be read.

    Raises:
        UserError: there is no such checkpoint or layer, no image at all, a number is out of range, or `out` cannot be written.
        JobError: none of the images can be read, or the disk is full.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    return embed_files(
        checkpoint, list(map(str, listed)), out=out, layer=layer, pca=pca, l2=l2, batch=batch, workers=workers,
        device=device, backend=backend, precision=precision,
    )  # fmt: skip


def search(
    index: str | Path | Index,
    query: str | Path,
    *,
    top_k: int = 10,
    sheet: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
) -> list[Hit]:
    """Find the indexed images that are most like an image.

    Args:
        index: a file that `embed` wrote, or the index itself.
        query: an image file. If it is indexed, it is found, too.
        top_k: number of images to find.
        sheet: an image file, .png or .jpg, for the query and the images that are found.
        checkpoint: where the model of the index is now; None for where it was.
        device: as in `resnets.load`.

    Returns:
        The images, the nearest first: `.path` and `.similarity`, the cosine of the angle between the vectors.

    Raises:
        UserError: a file cannot be read, `top_k` is out of range, or the weights are others than those of the index.
    """
    if sheet is not None:
        search_index.check_sheet(sheet)
    index = index if isinstance(index, Index) else index_file.read(index)
    found = search_index.search_index(index, query, top_k=top_k, checkpoint=checkpoint, device=device)
    if sheet is not None:
        search_index.draw_sheet(index, query, found, sheet)
    return found
