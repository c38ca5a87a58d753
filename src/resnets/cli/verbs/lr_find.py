"""`resnets lr-find`."""

from typing import Annotated

from typer import Argument, Option

from resnets.cli import flags, output


def lr_find(
    data: Annotated[str, Argument(help=flags.DATA_HELP)],
    model: Annotated[str | None, Option(help="A network of `resnets models`.  [default: resnet18]")] = None,
    weights: Annotated[
        str | None,
        Option(help="Weights to start from: a checkpoint, a run directory, imagenet, or a name of `weights list`."),
    ] = None,
    task: Annotated[
        str | None,
        Option(
            help="classification, multilabel, detection or segmentation.  [default: that of the weights or the data]"
        ),
    ] = None,
    recipe: Annotated[str | None, Option(help="scratch (without weights), finetune (with), …")] = None,
    batch: Annotated[int | None, Option(*flags.BATCH, help="Batch size; the suggestion holds for this size.")] = None,
    imgsz: Annotated[int | None, Option(*flags.IMGSZ, help="Image size in pixels.")] = None,
    low: Annotated[float, Option(help="First learning rate.")] = 1e-5,
    high: Annotated[float, Option(help="Last learning rate.")] = 10.0,
    steps: Annotated[int, Option(help="Number of steps between them.")] = 100,
    out: Annotated[str, Option(help="Image file for the curve.")] = "lr_find.png",
    as_json: Annotated[bool, Option("--json", help="Print JSON, with the curve, instead of a number.")] = False,
    device: Annotated[str | None, Option(help="auto, cpu, cuda, 0, mps.")] = None,
    precision: Annotated[str | None, Option(help="auto, fp32 or bf16.")] = None,
    workers: Annotated[int | None, Option(help="Number of processes that load images.")] = None,
    seed: Annotated[int | None, Option(help="Random seed.")] = None,
    assignments: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="Any value of the recipe; repeatable.")
    ] = None,
) -> None:
    """Find a learning rate: train briefly while it grows, and suggest the one at which the loss falls fastest.

    The suggested rate is printed, and the curve is drawn to a file.

    Example: resnets lr-find flower_photos --batch 32
    """
    arguments = dict(locals(), overrides=assignments or ())  # all others have the names of those of `resnets.lr_find`
    del arguments["assignments"], arguments["as_json"]
    from resnets.training import lr_find as job

    result = job.lr_find(**arguments)
    if as_json:
        output.print_json(result._asdict())
    else:
        output.echo(f"{result.suggestion:.2g}")
