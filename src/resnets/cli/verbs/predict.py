"""`resnets predict`."""

from __future__ import annotations

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
    csv: Annotated[str | None, typer.Option(help="Write a table to this file; - is stdout.")] = None,
    jsonl: Annotated[str | None, typer.Option(help="Write one JSON object a line to this file; - is stdout.")] = None,
    sort_into: Annotated[
        str | None, typer.Option(help="Copy each image into this folder, in a folder of its class.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Number of classes for each image.  [default: 5, or all]")] = None,
    batch: Annotated[int, typer.Option(*flags.BATCH, help="Batch size.")] = 32,
    workers: Annotated[
        int | None, typer.Option(help="Number of threads that read images.  [default: processors]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, typer.Option(help="auto, torch, compile or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, or fp32: the reference.")] = "auto",
) -> None:
    """Classify images: print a line for each, write a table, or copy them into a folder for each class.

    An image that cannot be read gets an error in its row, and the exit code is 1 at the end.

    Example: resnets predict runs/flowers holiday/ --csv answers.csv
    """
    from resnets.tasks.classification import predict_files

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
