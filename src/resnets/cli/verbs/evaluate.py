"""`resnets evaluate`."""

from __future__ import annotations

from typing import Annotated

import typer

from resnets.cli import output

WHICH, HOW, MACHINE = "Which images", "How", "Machine"


def evaluate(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoints or run folders; several are an ensemble, whose probabilities are averaged.",
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="The last word: a folder of class folders, .csv, .jsonl, digits, shapes."),
    ],
    split: Annotated[
        str | None,
        typer.Option(rich_help_panel=WHICH, help="train, val, test or all.  [default: test, else val, else all]"),
    ] = None,
    split_file: Annotated[
        str | None, typer.Option(rich_help_panel=WHICH, help="A split.csv.  [default: that of the checkpoint's run]")
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(rich_help_panel=WHICH, help="Hold out this share anew, as training with it did.")
    ] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=WHICH, help="Of --val-fraction.  [default: 123]")] = None,
    on_bad: Annotated[str, typer.Option(rich_help_panel=WHICH, help="Unreadable images: error or skip.")] = "error",
    crops: Annotated[
        int, typer.Option(rich_help_panel=HOW, help="1, or 10: center and corners, each with its mirror image.")
    ] = 1,
    scales: Annotated[
        str, typer.Option(rich_help_panel=HOW, help="Whole images at these shorter sides, such as 224,256,384.")
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", rich_help_panel=HOW, help="A paired test of two checkpoints.")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", rich_help_panel=HOW, help="Fit the temperature on val and store it.")
    ] = False,
    out: Annotated[str | None, typer.Option(help="Folder for tables, figures and predictions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    batch: Annotated[int, typer.Option(rich_help_panel=MACHINE, help="Images that are worked on together.")] = 32,
    workers: Annotated[
        int | None, typer.Option(rich_help_panel=MACHINE, help="Threads that read images.  [default: processors]")
    ] = None,
    device: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="auto, cpu, cuda, 0, mps.")] = "auto",
    backend: Annotated[
        str, typer.Option(rich_help_panel=MACHINE, help="auto (the reference), torch, compile or openvino.")
    ] = "auto",
    precision: Annotated[str, typer.Option(rich_help_panel=MACHINE, help="fp32 or bf16.")] = "fp32",
) -> None:
    """See how good checkpoints are on labeled images, with 95 % intervals, as a whole and class by class.

    Example: resnets evaluate runs/flowers flower_photos
    """
    import json

    from resnets.report import draw_run as drawings
    from resnets.tasks.classification import evaluate_job, metrics_table, test_time_augmentation
    from resnets.training import choose_device

    if out is not None:
        evaluate_job.check_place(out)
    found = evaluate_job.run(
        checkpoints,
        data,
        split=split,
        split_file=split_file,
        val_fraction=val_fraction,
        seed=seed,
        batch=batch,
        workers=workers,
        crops=crops,
        scales=test_time_augmentation.scales(scales),
        pairwise=compare,
        calibrate=calibrate,
        device=str(choose_device.select_device(device).value),
        backend=backend,
        precision=precision,
        on_bad=on_bad,
    )
    # Shown before it is written, so that a full disk takes nothing away.
    if as_json:
        output.echo(json.dumps(found.to_dict(), indent=2))
    else:
        metrics_table.show(found)
    if out is not None:
        for folder, predictions in evaluate_job.write(found, out):
            drawings.draw_all(folder, predictions)
