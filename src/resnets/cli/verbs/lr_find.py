"""`resnets lr-find`."""

from typing import Annotated

import typer

from resnets.cli import flags, output


def lr_find(
    data: Annotated[str, typer.Argument(help=flags.DATA_HELP)],
    model: Annotated[str | None, typer.Option(help="A network of `resnets models`.  [default: resnet18]")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights to start from: a checkpoint, a run directory, imagenet, or a name of `weights list`."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or multilabel.  [default: that of the weights or the data]")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="scratch (without weights), finetune (with), …")] = None,
    batch: Annotated[
        int | None, typer.Option(*flags.BATCH, help="Batch size; the suggestion holds for this size.")
    ] = None,
    imgsz: Annotated[int | None, typer.Option(*flags.IMGSZ, help="Image size in pixels.")] = None,
    low: Annotated[float, typer.Option(help="First learning rate.")] = 1e-5,
    high: Annotated[float, typer.Option(help="Last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Number of steps between them.")] = 100,
    out: Annotated[str, typer.Option(help="Image file for the curve.")] = "lr_find.png",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the curve, instead of a number.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, 0, mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    workers: Annotated[int | None, typer.Option(help="Number of processes that load images.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any value of the recipe; repeatable.")
    ] = None,
) -> None:
    """Find a learning rate: train briefly while it grows, and suggest the one at which the loss falls fastest.

    The suggested rate is printed, and the curve is drawn to a file.

    Example: resnets lr-find flower_photos --batch 32
    """
    from resnets.training import lr_find as job

    result = job.lr_find(
        data,
        model=model,
        weights=weights,
        task=task,
        recipe=recipe,
        low=low,
        high=high,
        steps=steps,
        out=out,
        overrides=assignments or (),
        batch=batch,
        imgsz=imgsz,
        device=device,
        precision=precision,
        workers=workers,
        seed=seed,
    )
    if as_json:
        output.print_json(result._asdict())
    else:
        output.echo(f"{result.suggestion:.2g}")
