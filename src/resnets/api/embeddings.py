"""`resnets.embed`, `resnets.search` and `resnets.evaluate_knn`: vectors of images, and what is near to what."""

from collections.abc import Iterable
from pathlib import Path

from resnets.tasks.embeddings import evaluate_knn as knn_evaluation
from resnets.tasks.embeddings import index_file, search_index
from resnets.tasks.embeddings.embed_files import EmbedResult, embed_files
from resnets.tasks.embeddings.embedding_index import Index
from resnets.tasks.embeddings.search_index import Hit
from resnets.tasks.evaluation import write_evaluation
from resnets.tasks.evaluation.results import Evaluation


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


def evaluate_knn(
    checkpoint: str | Path,
    data: str | Path,
    *,
    k: int = 20,
    layer: str | None = None,
    split_file: str | Path | None = None,
    out: str | Path | None = None,
    batch: int = 32,
    workers: int | None = None,
    device: str = "auto",
) -> Evaluation:
    """How well the features of a model tell the classes of your images apart, by a k-nearest-neighbor classifier.

    Nothing is trained: the nearest images of the train split vote for the class of each image of the test split, or of the val
    split if there is no test split, with a weight of exp(cosine / 0.07) (Wu et al. 2018).

    Args:
        checkpoint: a model of any task and any classes.
        data: a folder of class folders, a .csv or .jsonl file, shards, "digits" or "shapes". If it is not split, it is split as a
            training would split it.
        k: number of nearest images that vote.
        layer: as in `embed`.
        split_file: a file that `resnets.split` wrote, or `split.csv` of a run.
        out: a folder for tables, figures, predictions and a report.
        batch, workers, device: as in `embed`.

    Returns:
        The results, as of `resnets.evaluate`.

    Raises:
        UserError: a number is out of range, or there are no images with classes in the train split.
        JobError: images cannot be read, or the disk is full.
    """
    if out is not None:
        write_evaluation.check_output(out)
    results = knn_evaluation.evaluate_knn(
        checkpoint,
        data,
        k=k,
        layer=layer,
        split_file=split_file,
        batch=batch,
        workers=workers,
        device=device,
    )
    if out is not None:
        write_evaluation.write(results, out)
    return results
