"""`resnets evaluate`."""

import shlex
from typing import Annotated, Any

import typer

from resnets.cli import flags, output
from resnets.errors import UserError
from resnets.progress import log

IMAGES, METHOD, MACHINE = "Images", "Method", "Machine"


def evaluate(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoints or run directories; several are an ensemble, whose probabilities are averaged.",
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="The last argument: a folder of class folders, shards, .csv, .jsonl, digits, digit-scenes or shapes.",
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(rich_help_panel=IMAGES, help="train, val, test or all.  [default: test, else val, else all]"),
    ] = None,
    split_file: Annotated[
        str | None, typer.Option(rich_help_panel=IMAGES, help="Split file.  [default: that of the checkpoint's run]")
    ] = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=IMAGES, help="Split the data again with this validation fraction, as in training."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(rich_help_panel=IMAGES, help="Random seed of --val-fraction.  [default: 123]")
    ] = None,
    on_bad: Annotated[str, typer.Option(rich_help_panel=IMAGES, help="Unreadable images: error or skip.")] = "error",
    crops: Annotated[
        int, typer.Option(rich_help_panel=METHOD, help="1 or 10 (center and corners, each also mirrored).")
    ] = 1,
    scales: Annotated[
        str,
        typer.Option(
            rich_help_panel=METHOD, help="Average over whole images with these shorter sides, such as 224,256,384."
        ),
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", rich_help_panel=METHOD, help="Compare two checkpoints by a paired test.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", rich_help_panel=METHOD, help="Fit the temperature, or the thresholds, on val and store it."
        ),
    ] = False,
    out: Annotated[str | None, typer.Option(*flags.OUT_DIR, help="Folder for tables, figures and predictions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    batch: Annotated[int, typer.Option(*flags.BATCH, rich_help_panel=MACHINE, help="Batch size.")] = 32,
    workers: Annotated[
        int | None,
        typer.Option(rich_help_panel=MACHINE, help="Number of threads that read images.  [default: number of CPUs]"),
    ] = None,
    device: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[
        str, typer.Option(rich_help_panel=MACHINE, help="auto (the reference), torch, compile or openvino.")
    ] = "auto",
    precision: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="fp32 or bf16.")] = "fp32",
) -> None:
    """Evaluate checkpoints on labeled images: metrics with 95 % intervals, as a whole and class by class.

    Example: resnets evaluate runs/flowers flower_photos
    """
    from resnets.api import evaluate as api
    from resnets.tasks import evaluate as evaluation
    from resnets.tasks import evaluation_table
    from resnets.tasks.classification import test_time_augmentation

    if compare and len(checkpoints) != 2:
        raise UserError(f"--compare needs two checkpoints before the data; received {len(checkpoints)}.")
    if compare and calibrate:
        raise UserError("--calibrate fits one checkpoint, --compare needs two: leave one of them out.")
    if out is not None:
        evaluation.check_output(out)
    options: dict[str, Any] = {
        "split": split,
        "split_file": split_file,
        "val_fraction": val_fraction,
        "seed": seed,
        "on_bad": on_bad,
        "crops": crops,
        "scales": test_time_augmentation.parse_scales(scales),
        "batch": batch,
        "workers": workers,
        "device": device,
        "backend": backend,
        "precision": precision,
    }
    if compare:
        results = api.compare(checkpoints[0], checkpoints[1], data, **options)
    else:
        results = api.evaluate(checkpoints, data, calibrate=calibrate, **options)
    # Printed before it is written: with a full disk the result is not lost.
    if as_json:
        output.print_json(results.to_dict())
    else:
        evaluation_table.show(results)
    if out is not None:
        evaluation.write(results, out)
        log(f"wrote the tables, figures and predictions to {shlex.quote(out)}")
