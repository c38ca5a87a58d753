"""`resnets data`: get a built-in dataset, check images, split them, write them as shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from resnets.cli import output

app = typer.Typer(help="Get example images, find what is wrong with yours, split them, write shards.")

DATA = "Folder of class folders, split folder, shards, .csv, .jsonl, digits or shapes."


@app.command()
def get(
    name: Annotated[
        str, typer.Argument(help="digits (1,797 real handwritten ones) or shapes (drawn, with boxes and masks).")
    ],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where to write it; empty or not there yet.")],
    size: Annotated[
        int | None, typer.Option(help="Size of the images in pixels.  [default: 32 digits, 64 shapes]")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Number of images (shapes).  [default: 600]")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (shapes).  [default: 0]")] = None,
    objects: Annotated[
        int | None, typer.Option(help="Largest number of shapes in an image (shapes).  [default: 1]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Write a built-in dataset, split into train, val and test. Nothing is downloaded.

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
    data: Annotated[str, typer.Argument(help=DATA)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    html: Annotated[str | None, typer.Option(help="Write a page with the images in question to this file.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that read images.  [default: processors]")
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

    if html:
        atomic_write.check_file_writable(html)
    report = api.check(data, workers=workers)
    # Printed before it is written: with a full disk the result is not lost.
    if as_json:
        output.echo(report.to_json(), end="")
    else:
        terminal_text.show(report, sys.stdout)
    if html:
        html_page.write(html, report)
    if report.has_errors:
        raise typer.Exit(1)


@app.command()
def split(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[str, typer.Option(help="The file to write; --split-file reads it.")] = "split.csv",
    val_fraction: Annotated[
        float | None, typer.Option(help="Fraction of val, where the data has none.  [default: 0.2]")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Fraction of test, where the data has none.  [default: 0]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed; another seed is another split.  [default: 123]")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Column whose groups are never divided; `folder`: folders within class folders.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds, instead of --val-fraction.")] = None,
    fold: Annotated[int | None, typer.Option(help="The fold that is val, from 1.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Split images by content into train, val and test, and write the split to a file.

    The split is stratified by class; exact copies and groups stay together; splits that the data has stay as they are.

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
    )
    if as_json:
        output.print_json(result.to_dict())
    else:
        output.print_line(f"{out}: {_format_counts(result.counts)}")


@app.command()
def shard(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[str, typer.Argument(help="Where to write the shards; empty or not there yet.")],
    size_mb: Annotated[float, typer.Option(help="Size of a shard in megabytes.")] = 500.0,
    resize: Annotated[
        int | None, typer.Option(help="Bring larger images to this shorter side, pixels; none is enlarged.")
    ] = None,
    split_file: Annotated[str | None, typer.Option(help="A split that `resnets data split` wrote.")] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="Fraction of val, where the data has none.  [default: 0.2]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the split and of the order of the training images.")] = 123,
    group_by: Annotated[
        str | None, typer.Option(help="Column whose groups are never divided; `folder`: folders within class folders.")
    ] = None,
    on_bad: Annotated[str, typer.Option(help="Unreadable images: error or skip.")] = "error",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Write images into WebDataset tars, which training reads as a stream: for more than a folder can hold.

    They are split as training would split them, and keep their bytes, but for what --resize makes smaller: for more images
    than memory can keep decoded. The folder is then named like any other data.

    Example: resnets data shard photos shards
    """
    from resnets.data.datasets import open_dataset, write_shards
    from resnets.data.datasets.dataset import IndexedSamples
    from resnets.recipes.recipe import Data, Recipe
    from resnets.training.configuration import conflicts
    from resnets.training.configuration.autoconfig import RecipeBuilder
    from resnets.training.setup.split_dataset import split_dataset

    write_shards.check_output_dir(out)
    builder = RecipeBuilder(Recipe(data=Data(location=data, on_bad=on_bad, split_seed=seed)))
    for key, value in (("val_fraction", val_fraction), ("split_file", split_file), ("group_by", group_by)):
        if value is not None:
            builder.set(f"data.{key}", value, f"given: --{key.replace('_', '-')}")
    conflicts.resolve_conflicts(builder)
    dataset = open_dataset.read(data, on_inaccessible=on_bad)
    conflicts.check_dataset(
        builder, own_val="val" in dataset.splits, stored=isinstance(dataset.samples, IndexedSamples)
    )
    dataset = split_dataset(dataset, builder.recipe)
    written = write_shards.write(out, dataset, seed=seed, size_mb=size_mb, resize=resize)
    counts = {split: len(dataset.subset(split)) for split in written}
    if as_json:
        output.print_json({"out": out, "images": counts, "tars": dict(written)})
    else:
        output.print_line(
            f"{out}: " + ", ".join(f"{name} {counts[name]:,} in {tars:,} tars" for name, tars in written.items())
        )


def _format_counts(counts: Mapping[str, int]) -> str:
    """`train 80, val 20`."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
