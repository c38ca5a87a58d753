"""`resnets train`."""

from functools import partial
from typing import Annotated

import typer
from typer import Argument, Option

from resnets.cli import flags, output

images = partial(Option, rich_help_panel="Images")
training = partial(Option, rich_help_panel="Training")
machine = partial(Option, rich_help_panel="Machine")


def _epochs(text: str) -> str:
    """Check that the text is a whole number, or one with a plus."""
    if not text.lstrip("+-").isdecimal():
        raise typer.BadParameter(f"'{text}' is not a whole number")
    return text


def train(
    data: Annotated[str | None, Argument(help=flags.DATA_HELP)] = None,
    model: Annotated[str | None, Option(help="A network of `resnets models`.  [default: resnet18]")] = None,
    weights: Annotated[
        str | None,
        Option(
            help="A checkpoint, a run directory, imagenet, a name of `weights list`, or none.  [default: imagenet, if available]"
        ),
    ] = None,
    task: Annotated[
        str | None,
        Option(
            help="classification, multilabel, detection or segmentation.  [default: that of the weights or the data]"
        ),
    ] = None,
    recipe: Annotated[str | None, Option(help="scratch (without weights), finetune (with), he2015_cifar, …")] = None,
    name: Annotated[str | None, Option(help="Name of the run directory.")] = None,
    out: Annotated[str | None, Option(*flags.OUT_DIR, help="Folder for the run directories.  [default: runs]")] = None,
    resume: Annotated[str | None, Option(help="Resume the run in this directory.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the settings with their reasons, and exit.")] = False,
    as_json: Annotated[
        bool, Option("--json", help="Print the run directory and its metrics as JSON, instead of the directory alone.")
    ] = False,
    epochs: Annotated[
        str | None,
        training(
            parser=_epochs,
            metavar="N|+N",
            help="Number of epochs; with --resume of a finished run, +20 adds 20.  [default: the recipe's]",
        ),
    ] = None,
    batch: Annotated[int | None, training(*flags.BATCH, help="Batch size over all processes.")] = None,
    lr: Annotated[float | None, training(help="Peak learning rate.")] = None,
    patience: Annotated[int | None, training(help="Stop after this number of epochs without improvement.")] = None,
    freeze: Annotated[str | None, training(help="none, backbone, or the number of stages to freeze.")] = None,
    stem: Annotated[str | None, training(help="Another stem, such as cifar for small images.")] = None,
    seed: Annotated[int | None, training(help="Random seed.")] = None,
    assignments: Annotated[
        list[str] | None, training("--set", metavar="KEY=VALUE", help="Any value of the recipe; repeatable.")
    ] = None,
    imgsz: Annotated[int | None, images(*flags.IMGSZ, help="Image size in pixels.")] = None,
    val_fraction: Annotated[
        float | None, images(help="Validation fraction, if the data has no val split.  [default: 0.2]")
    ] = None,
    split_file: Annotated[str | None, images(help="Split file written by `resnets data split`.")] = None,
    group_by: Annotated[str | None, images(help="Column whose groups stay together.")] = None,
    balance: Annotated[str | None, images(help="Class balancing: none, loss or sampler.")] = None,
    on_bad: Annotated[str | None, images(help="Unreadable images: error or skip.")] = None,
    cache: Annotated[str | None, images(help="Cache of decoded images: auto, ram or off.")] = None,
    device: Annotated[str | None, machine(help="auto, cpu, cuda, 0, mps.")] = None,
    precision: Annotated[str | None, machine(help="auto, fp32, tf32, bf16 or fp16.")] = None,
    workers: Annotated[int | None, machine(help="Number of processes that load images.")] = None,
    save_every: Annotated[
        str | None,
        machine(
            metavar="STEPS|SECONDS",
            help="Save the training state every 200 (steps) or 60s, and after each epoch.  [default: 300s]",
        ),
    ] = None,
    sync_bn: Annotated[bool | None, machine("--sync-bn", help="Under torchrun: synchronized batch norm.")] = None,
    deterministic: Annotated[bool | None, machine("--deterministic", help="Use deterministic algorithms only.")] = None,
    track: Annotated[str | None, machine(help="Log to tensorboard, mlflow or wandb too; several with commas.")] = None,
) -> None:
    """Train a network on your images, and write a run directory with checkpoints, metrics and a report.

    A value that you give always takes precedence. Values that are chosen for you are printed with the reason.

    Example: resnets train flower_photos --model resnet18 --epochs 20
    """
    arguments = dict(locals(), overrides=assignments or ())  # all others have the names of those of `resnets.train`
    del arguments["assignments"], arguments["as_json"]
    from pathlib import Path

    from resnets.training.run_dir import find_run

    if resume is not None:
        find_run.check_exists(Path(resume))

    from resnets import ranks
    from resnets.training import train as training_job

    result = training_job.train(**arguments)
    if result is not None and ranks.rank() == 0:
        if as_json:
            output.print_json({"run": str(result.run), "metrics": result.metrics})
        else:
            output.echo(result.run)
