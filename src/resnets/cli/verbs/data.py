"""`resnets data`: get a built-in set, check images, split them, write them as shards."""

from __future__ import annotations

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
        int | None, typer.Option(help="Side of the images, pixels.  [default: 32 digits, 64 shapes]")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Number of images (shapes).  [default: 600]")] = None,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn (shapes).  [default: 0]")] = None,
    objects: Annotated[int | None, typer.Option(help="Most shapes in an image (shapes).  [default: 1]")] = None,
) -> None:
    """Write a built-in set of images, split into train, val and test. Nothing is downloaded.

    Example: resnets data get digits digits
    """
    from resnets.data.datasets import builtin, open_dataset

    dataset = open_dataset.read(builtin.write(name, folder, size=size, count=count, seed=seed, objects=objects))
    parts = ", ".join(f"{part} {len(dataset.subset(part)):,}" for part in dataset.splits)
    output.tell(f"{folder}: {len(dataset.samples):,} images in {len(dataset.classes)} classes ({parts})")


@app.command()
def check(
    data: Annotated[str, typer.Argument(help=DATA)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
    html: Annotated[str | None, typer.Option(help="Write a page with the images in question to this file.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that read.  [default: processors]")] = None,
) -> None:
    """Read every image, and find what would spoil a training or its result.

    The exit code is 1 when there is such a fault, 0 when there are only warnings and notes.

    Example: resnets data check photos --html check.html
    """
    import sys

    from resnets import atomic_write
    from resnets.data.check import check as doctor
    from resnets.data.check import html_page, terminal_text
    from resnets.data.datasets import open_dataset

    if html:
        atomic_write.check_file_writable(html)
    report = doctor.check(open_dataset.read(data, on_inaccessible="skip"), workers=workers)
    if as_json:
        output.echo(report.to_json(), end="")
    else:
        terminal_text.show(report, sys.stdout)
    if html:
        html_page.write(html, report)
    if report.serious:
        raise typer.Exit(1)


@app.command()
def split(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[str, typer.Option(help="The file to write; --split-file reads it.")] = "split.csv",
    val_fraction: Annotated[
        float | None, typer.Option(help="Share of val, where the data has none.  [default: 0.2]")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share of test, where the data has none.  [default: 0]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed is another split.  [default: 123]")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Column whose groups are never divided; `folder`: folders within class folders.")
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds, instead of --val-fraction.")] = None,
    fold: Annotated[int | None, typer.Option(help="The fold that is val, from 1.")] = None,
) -> None:
    """Split images by their content into train, val and test, and write down which is where.

    Classes are cut alike; exact copies and groups stay together; parts that the data has stay as they are.

    Example: resnets data split photos --test-fraction 0.1 --out split.csv
    """
    from resnets import atomic_write
    from resnets.data.datasets import open_dataset
    from resnets.data.split.make_split import make_split
    from resnets.data.split.split_file import write_split

    atomic_write.check_file_writable(out)
    done = make_split(
        open_dataset.read(data),
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
        group_by=group_by,
        folds=folds,
        fold=fold,
    )
    write_split(out, done)
    output.tell(f"{out}: " + ", ".join(f"{part} {len(done.subset(part)):,}" for part in done.splits))


@app.command()
def shard(
    data: Annotated[str, typer.Argument(help=DATA)],
    out: Annotated[str, typer.Argument(help="Where to write the shards; empty or not there yet.")],
    size_mb: Annotated[float, typer.Option(help="Size of a shard, millions of bytes.")] = 500.0,
    resize: Annotated[
        int | None, typer.Option(help="Bring larger images to this shorter side, pixels; none is enlarged.")
    ] = None,
    split_file: Annotated[str | None, typer.Option(help="A split that `resnets data split` wrote.")] = None,
    val_fraction: Annotated[
        float | None, typer.Option(help="Share of val, where the data has none.  [default: 0.2]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split, and of the order of the training images.")] = 123,
    group_by: Annotated[
        str | None, typer.Option(help="Column whose groups are never divided; `folder`: folders within class folders.")
    ] = None,
    on_bad: Annotated[str, typer.Option(help="Unreadable images: error or skip.")] = "error",
) -> None:
    """Write images into WebDataset tars, which training reads as a stream: for more than a folder can hold.

    They are split as training would split them, and keep their bytes, but for what --resize makes smaller: for more images
    than memory can keep decoded. The folder is then named like any other data.

    Example: resnets data shard photos shards
    """
    from resnets.data.datasets import open_dataset, write_shards
    from resnets.data.datasets.dataset import IndexedSamples
    from resnets.recipes.recipe import Data, Recipe
    from resnets.training import conflicts, setup
    from resnets.training.autoconfig import RecipeBuilder

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
    dataset = setup.split_dataset(dataset, builder.recipe)
    written = write_shards.write(out, dataset, seed=seed, size_mb=size_mb, resize=resize)
    parts = (f"{part} {len(dataset.subset(part)):,} in {count:,} tars" for part, count in written.items())
    output.tell(f"{out}: " + ", ".join(parts))
