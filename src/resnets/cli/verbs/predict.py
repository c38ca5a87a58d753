"""`resnets predict`."""

from typing import Annotated

import typer

from resnets.cli import flags


def predict(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint, a run directory, or a name of `weights list`.", metavar="CHECKPOINT")
    ],
    paths: Annotated[
        list[str],
        typer.Argument(help="Images, folders, quoted patterns, or - for a list on stdin.", metavar="PATH"),
    ],
    csv: Annotated[str | None, typer.Option(help="Write a CSV table to this file; - for stdout.")] = None,
    jsonl: Annotated[
        str | None, typer.Option(help="Write one JSON object per line to this file; - for stdout.")
    ] = None,
    sort_into: Annotated[
        str | None, typer.Option(help="Copy each image into a folder of its class within this folder.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Number of classes per image.  [default: 5, or all]")] = None,
    batch: Annotated[int, typer.Option(*flags.BATCH, help="Batch size.")] = 32,
    workers: Annotated[
        int | None, typer.Option(help="Number of threads that read images.  [default: number of CPUs]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, typer.Option(help="auto, torch, compile or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32 (the reference).")] = "auto",
) -> None:
    """Classify images: print a line for each, write a table, or copy them into one folder per class.

    An image that cannot be read has an error in its row, and the exit code is then 1.

    Example: resnets predict runs/flowers holiday/ --csv predictions.csv
    """
    from resnets.tasks import predict_files

    predict_files.predict_files(
        checkpoint,
        paths,
        csv=csv,
        jsonl=jsonl,
        sort_into=sort_into,
        top_k=top_k,
        batch=batch,
        workers=workers,
        device=device,
        backend=backend,
        precision=precision,
    )
