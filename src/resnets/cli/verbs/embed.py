"""`resnets embed`."""

from functools import partial
from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags, output

machine = partial(Option, rich_help_panel="Machine")


def embed(
    checkpoint: Annotated[
        str,
        Argument(
            help="A checkpoint, a run directory, an exported file, or a name of `weights list`.", metavar="CHECKPOINT"
        ),
    ],
    paths: Annotated[
        list[str], Argument(help="Images, folders, quoted patterns, or - for a list on stdin.", metavar="PATH")
    ],
    out: Annotated[str, Option(help="File of the vectors with their paths: .npz or .parquet.")],
    layer: Annotated[
        str | None, Option(help="A layer, such as stage3.  [default: what the head of a classifier receives]")
    ] = None,
    pca: Annotated[int | None, Option(help="Keep this number of principal components.")] = None,
    l2: Annotated[bool, Option("--l2", help="Divide each vector by its length.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print a summary as JSON.")] = False,
    batch: Annotated[int, machine(*flags.BATCH, help="Batch size.")] = 32,
    workers: Annotated[
        int | None, machine(help="Number of threads that read images.  [default: number of CPUs]")
    ] = None,
    device: Annotated[str, machine(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, machine(help="auto, torch, compile or openvino.")] = "auto",
    precision: Annotated[str, machine(help="auto, bf16, fp32 (the reference) or int8.")] = "auto",
) -> None:
    """Turn images into vectors: one for each image, by a model of any task. `search` finds the nearest ones.

    An image that cannot be read is named and left out, and the exit code is then 1.

    Example: resnets embed runs/flowers flower_photos --out flowers.npz
    """
    from resnets.api import embeddings as api

    result = api.embed(
        checkpoint, paths, out=out, layer=layer, pca=pca, l2=l2, batch=batch, workers=workers, device=device, backend=backend,
        precision=precision,
    )  # fmt: skip
    if as_json:
        output.print_json(result.to_dict())
    result.check_all_read()
