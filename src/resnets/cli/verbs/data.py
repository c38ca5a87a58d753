"""`resnets data`: get a built-in dataset, check a dataset, split it, write it as shards or in another format."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer import Argument, Option

from resnets.cli import flags, output
from resnets.errors import UserError
from resnets.progress import log

_TASK_HELP = "Task, where the data are laid out for several: detection or segmentation."
_SET_HELP = "What masks mean, as for a training: task.mask_values=0=background,255=person, task.mask_value_tolerance=8."

app = typer.Typer(help="Get a built-in dataset, check a dataset, split it, write it as shards or in another format.")


@app.command()
def get(
    name: Annotated[
        str,
        Argument(
            help="digits (1,797 handwritten digits), digit-scenes (several digits in an image), shapes (generated) or cifar10."
        ),
    ],
    folder: Annotated[str, Argument(metavar="DIR", help="Output folder; it must be empty or not exist.")],
    size: Annotated[
        int | None, Option(help="Size of the images in pixels (not cifar10).  [default: 32 digits, 64 others]")
    ] = None,
    count: Annotated[
        int | None, Option(help="Number of generated images.  [default: 600 shapes, 2,000 digit-scenes]")
    ] = None,
    seed: Annotated[int | None, Option(help="Random seed of generated images.  [default: 0]")] = None,
    objects: Annotated[int | None, Option(help="Maximum number of shapes in an image (shapes).  [default: 1]")] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Write a dataset, split into train, val and test. Only cifar10 is downloaded: 162 MiB, once.

    Example: resnets data get digits digits
    """
    from resnets.data.datasets import builtin, open_dataset

    dataset = open_dataset.read(builtin.write(name, folder, size=size, count=count, seed=seed, objects=objects))
    counts = {split: len(dataset.subset(split)) for split in dataset.splits}
    if as_json:
        output.print_json({"out": folder, "images": counts, "class_names": list(dataset.class_names)})
    else:
        output.print_line(
            f"{folder}: {len(dataset.samples):,} images in {len(dataset.class_names)} classes ({_format_counts(counts)})"
        )


@app.command()
def check(
    data: Annotated[str, Argument(help=flags.DATA_HELP)],
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False,
    html: Annotated[str | None, Option(help="Write an HTML page with the images concerned to this file.")] = None,
    csv: Annotated[
        str | None, Option(help="Write a table of all cases (path, object, level, fault, note) to this file.")
    ] = None,
    workers: Annotated[
        int | None, Option(min=1, help="Number of threads that read images.  [default: number of CPUs]")
    ] = None,
    task: Annotated[str | None, Option(help=_TASK_HELP)] = None,
    settings: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help=_SET_HELP)] = None,
    vectors: Annotated[
        str | None, Option(help="File of `resnets embed` for these images: find near duplicates by its vectors.")
    ] = None,
) -> None:
    """Read every image, and find what would make training fail or its result wrong.

    The exit code is 1 if there is an error, 0 if there are only warnings and notes.

    Example: resnets data check photos --html check.html
    """
    import sys

    from resnets import atomic_write
    from resnets.api import data as api
    from resnets.data.check import html_page, terminal_text

    for path in filter(None, (html, csv)):
        atomic_write.check_file_writable(path)
    report = api.check(data, workers=workers, task=task, vectors=vectors, **_mask_settings(settings))
    # Printed before it is written: with a full disk the result is not lost.
    if as_json:
        output.echo(report.to_json(), end="")
    else:
        terminal_text.show(report, sys.stdout)
    if html:
        html_page.write(html, report)
        log(f"wrote {shlex.quote(html)}")
    if csv:
        atomic_write.write_text(csv, report.to_csv())
        log(f"wrote {shlex.quote(csv)}")
    if report.has_errors:
        raise typer.Exit(1)


@app.command()
def split(
    data: Annotated[str, Argument(help=flags.DATA_HELP)],
    out: Annotated[str, Option(help="File to write, for --split-file.")] = "split.csv",
    val_fraction: Annotated[
        float | None, Option(help="Validation fraction, if the data has no val split.  [default: 0.2]")
    ] = None,
    test_fraction: Annotated[
        float | None, Option(help="Test fraction, if the data has no test split.  [default: 0]")
    ] = None,
    seed: Annotated[int | None, Option(help="Random seed.  [default: 123]")] = None,
    group_by: Annotated[
        str | None, Option(help="Column whose groups stay together; `folder` for the folders within class folders.")
    ] = None,
    folds: Annotated[int | None, Option(help="Number of folds, instead of --val-fraction.")] = None,
    fold: Annotated[int | None, Option(help="The fold used as val, from 1.")] = None,
    task: Annotated[str | None, Option(help=_TASK_HELP)] = None,
    settings: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help=_SET_HELP)] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Split images by content into train, val and test, and write the split to a file.

    The split is stratified by class; exact copies and groups stay together; existing splits are kept.

    Example: resnets data split photos --test-fraction 0.1 --out split.csv
    """
    from resnets.api import data as api

    result = api.split(
        data,
        out=out,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        group_by=group_by,
        folds=folds,
        fold=fold,
        task=task,
        **_mask_settings(settings),
    )
    if as_json:
        output.print_json(result.to_dict())
    else:
        output.print_line(f"{out}: {_format_counts(result.counts)}")


@app.command()
def shard(
    data: Annotated[str, Argument(help=flags.DATA_HELP)],
    out: Annotated[str, Argument(help="Output folder; it must be empty or not exist.")],
    size_mb: Annotated[float, Option(help="Size of a shard in megabytes.")] = 500.0,
    resize: Annotated[int | None, Option(help="Resize larger images to this shorter side in pixels.")] = None,
    split_file: Annotated[str | None, Option(help="Split file written by `resnets data split`.")] = None,
    val_fraction: Annotated[
        float | None, Option(help="Validation fraction, if the data has no val split.  [default: 0.2]")
    ] = None,
    seed: Annotated[int, Option(help="Random seed of the split and of the order of the training images.")] = 123,
    group_by: Annotated[
        str | None, Option(help="Column whose groups stay together; `folder` for the folders within class folders.")
    ] = None,
    on_bad: Annotated[str, Option(help="Unreadable images: error or skip.")] = "error",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Write a dataset as WebDataset shards, which training reads as a stream.

    The images are split as `resnets train` would split them and copied unchanged; with --resize, larger ones are resized, so
    that more of them fit into memory. Every command accepts the output folder as data.

    Example: resnets data shard photos shards
    """
    from resnets.api import shard as api

    result = api.shard(
        data,
        out,
        size_mb=size_mb,
        resize=resize,
        split_file=split_file,
        val_fraction=val_fraction,
        seed=seed,
        group_by=group_by,
        on_bad=on_bad,
    )
    if as_json:
        output.print_json(result.to_dict())
    else:
        output.print_line(
            f"{out}: "
            + ", ".join(f"{name} {count:,} in {result.tars[name]:,} tars" for name, count in result.counts.items())
        )


@app.command()
def convert(
    data: Annotated[str, Argument(help="Images with objects: COCO, YOLO, Pascal VOC, a table, instance masks.")],
    out: Annotated[str, Argument(help="Output folder; it must be empty or not exist.")],
    to: Annotated[str, Option(help="Format: coco, yolo, voc, csv or jsonl.")],
    on_bad: Annotated[str, Option(help="Objects with errors: error or skip.")] = "error",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Write images with objects in another format, with copies of the images.

    Example: resnets data convert scenes pets-yolo --to yolo
    """
    from resnets.api import data as api

    counts = api.convert_objects(data, out, to=to, on_bad=on_bad)
    if as_json:
        output.print_json({"out": out, "images": counts})
    else:
        output.print_line(f"{out}: {_format_counts({name or 'images': count for name, count in counts.items()})}")


def _mask_settings(assignments: Sequence[str] | None) -> dict[str, Any]:
    """`mask_values` and `mask_value_tolerance` of `--set task.mask_values=...`."""
    found: dict[str, Any] = {}
    for assignment in assignments or ():
        key, _, value = assignment.partition("=")
        if key == "task.mask_values":
            found["mask_values"] = tuple(value.split(","))
        elif key == "task.mask_value_tolerance" and value.isdecimal():
            found["mask_value_tolerance"] = int(value)
        else:
            raise UserError(
                f"Received '{assignment}' where task.mask_values=VALUE=NAME,... or task.mask_value_tolerance=8 is expected."
            )
    return found


def _format_counts(counts: Mapping[str, int]) -> str:
    """`train 80, val 20`."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
