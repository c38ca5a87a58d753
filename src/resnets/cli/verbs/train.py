"""`resnets train`."""

from typing import Annotated

import typer

from resnets.cli import flags, output

IMAGES, TRAINING, MACHINE = "Images", "Training", "Machine"


def _epochs(text: str) -> str:
    """Check that the text is a whole number, or one with a plus."""
    if not text.lstrip("+-").isdecimal():
        raise typer.BadParameter(f"'{text}' is not a whole number")
    return text


def train(
    data: Annotated[str, typer.Argument(help=flags.DATA_HELP)] = "",
    model: Annotated[str | None, typer.Option(help="A network of `resnets models`.  [default: resnet18]")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint, a run directory, imagenet, a name of `weights list`, or none.  [default: imagenet, if available]"
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or multilabel.  [default: that of the weights or the data]")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="scratch (without weights), finetune (with), he2015_cifar, …")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run directory.")] = None,
    out: Annotated[
        str | None, typer.Option(*flags.OUT_DIR, help="Folder for the run directories.  [default: runs]")
    ] = None,
    resume: Annotated[str | None, typer.Option(help="Resume the run in this directory.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings with their reasons, and exit.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the run directory and its metrics as JSON, instead of the directory alone."),
    ] = False,
    epochs: Annotated[
        str | None,
        typer.Option(
            parser=_epochs,
            metavar="N|+N",
            rich_help_panel=TRAINING,
            help="Number of epochs; with --resume of a finished run, +20 adds 20.  [default: the recipe's]",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(*flags.BATCH, rich_help_panel=TRAINING, help="Batch size over all processes.")
    ] = None,
    lr: Annotated[float | None, typer.Option(rich_help_panel=TRAINING, help="Peak learning rate.")] = None,
    patience: Annotated[
        int | None, typer.Option(rich_help_panel=TRAINING, help="Stop after this number of epochs without improvement.")
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(rich_help_panel=TRAINING, help="none, backbone, or the number of stages to freeze."),
    ] = None,
    stem: Annotated[
        str | None, typer.Option(rich_help_panel=TRAINING, help="Another stem, such as cifar for small images.")
    ] = None,
    seed: Annotated[int | None, typer.Option(rich_help_panel=TRAINING, help="Random seed.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", rich_help_panel=TRAINING, help="Any value of the recipe; repeatable."
        ),
    ] = None,
    imgsz: Annotated[
        int | None, typer.Option(*flags.IMGSZ, rich_help_panel=IMAGES, help="Image size in pixels.")
    ] = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(rich_help_panel=IMAGES, help="Validation fraction, if the data has no val split.  [default: 0.2]"),
    ] = None,
    split_file: Annotated[
        str | None, typer.Option(rich_help_panel=IMAGES, help="Split file written by `resnets data split`.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(rich_help_panel=IMAGES, help="Column whose groups stay together.")
    ] = None,
    balance: Annotated[
        str | None, typer.Option(rich_help_panel=IMAGES, help="Class balancing: none, loss or sampler.")
    ] = None,
    on_bad: Annotated[
        str | None, typer.Option(rich_help_panel=IMAGES, help="Unreadable images: error or skip.")
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(rich_help_panel=IMAGES, help="Cache of decoded images: auto, ram or off."),
    ] = None,
    device: Annotated[str | None, typer.Option(rich_help_panel=MACHINE, help="auto, cpu, cuda, 0, mps.")] = None,
    precision: Annotated[
        str | None, typer.Option(rich_help_panel=MACHINE, help="auto, fp32, tf32, bf16 or fp16.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(rich_help_panel=MACHINE, help="Number of processes that load images.")
    ] = None,
    save_every: Annotated[
        str | None,
        typer.Option(
            metavar="STEPS|SECONDS",
            rich_help_panel=MACHINE,
            help="Save the training state every 200 (steps) or 60s, and after each epoch.  [default: 300s]",
        ),
    ] = None,
    sync_bn: Annotated[
        bool,
        typer.Option("--sync-bn", rich_help_panel=MACHINE, help="Under torchrun: synchronized batch norm."),
    ] = False,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", rich_help_panel=MACHINE, help="Use deterministic algorithms only."),
    ] = False,
    track: Annotated[
        str | None,
        typer.Option(rich_help_panel=MACHINE, help="Log to tensorboard, mlflow or wandb too; several with commas."),
    ] = None,
) -> None:
    """Train a network on your images, and write a run directory with checkpoints, metrics and a report.

    A value that you give always takes precedence. Values that are chosen for you are printed with the reason.

    Example: resnets train flower_photos --model resnet18 --epochs 20
    """
    from pathlib import Path

    from resnets.training.run_dir import find_run

    if resume is not None:
        find_run.check_exists(Path(resume))

    from resnets import ranks
    from resnets.training import train as training_job

    result = training_job.train(
        data or None,
        model=model,
        weights=weights,
        task=task,
        recipe=recipe,
        name=name,
        out=out,
        resume=resume,
        dry_run=dry_run,
        overrides=assignments or (),
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        freeze=freeze,
        stem=stem,
        seed=seed,
        imgsz=imgsz,
        split_file=split_file,
        val_fraction=val_fraction,
        group_by=group_by,
        balance=balance,
        on_bad=on_bad,
        cache=cache,
        device=device,
        precision=precision,
        workers=workers,
        save_every=save_every,
        deterministic=deterministic or None,
        sync_bn=sync_bn or None,
        track=track,
    )
    if result is not None and ranks.rank() == 0:
        if as_json:
            output.print_json({"run": str(result.run), "metrics": result.metrics})
        else:
            output.echo(result.run)
