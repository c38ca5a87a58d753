"""`resnets predict`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags


def predict(
    checkpoint: Annotated[
        str, Argument(help="A checkpoint, a run directory, or a name of `weights list`.", metavar="CHECKPOINT")
    ],
    paths: Annotated[
        list[str], Argument(help="Images, folders, quoted patterns, or - for a list on stdin.", metavar="PATH")
    ],
    csv: Annotated[str | None, Option(help="Write a CSV table to this file; - for stdout.")] = None,
    jsonl: Annotated[str | None, Option(help="Write one JSON object per line to this file; - for stdout.")] = None,
    sort_into: Annotated[
        str | None, Option(help="Copy each image into a folder of its class within this folder.")
    ] = None,
    top_k: Annotated[int | None, Option(help="Number of classes per image.  [default: 5, or all]")] = None,
    batch: Annotated[int, Option(*flags.BATCH, help="Batch size.")] = 32,
    workers: Annotated[
        int | None, Option(help="Number of threads that read images.  [default: number of CPUs]")
    ] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[str, Option(help="auto, torch, compile or openvino.")] = "auto",
    precision: Annotated[str, Option(help="auto, bf16 or fp32 (the reference).")] = "auto",
) -> None:
    """Classify images: print a line for each, write a table, or copy them into one folder per class.

    An image that cannot be read has an error in its row, and the exit code is then 1.

    Example: resnets predict runs/flowers holiday/ --csv predictions.csv
    """
    options = {name: value for name, value in locals().items() if name not in ("checkpoint", "paths")}
    from resnets.tasks import predict_files

    predict_files.predict_files(checkpoint, paths, **options)
