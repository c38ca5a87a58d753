"""`resnets weights`: list published weights; inspect, convert and verify weight files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from resnets.cli import flags, output
from resnets.weights.tolerance import TOLERANCE

if TYPE_CHECKING:
    from rich.table import Table

    from resnets.weights.hub.bundled import BundledWeights
    from resnets.weights.hub.catalog import PublishedWeights
    from resnets.weights.identify import Inspection

app = typer.Typer(help="List published weights; inspect, convert and verify weight files.")

FILE = "A weight file (.safetensors, .pth, .h5, .keras, .cfg of darknet), or a folder of Hugging Face."
MODEL = "The network in the file, if its tensors fit several."
MAP = "A TOML file that pairs the names of the tensors with those of resnets."
WIDE = 120  # columns; a narrower table shows what fits into 80: one accuracy, and neither settings, size nor protocol
WRAPPER = "The keys that the network is stored under in the file, with dots between, such as state_dict_ema."
PREFIX = "The prefix of the names of the network's tensors, such as module."
IGNORE = "A pattern of tensor names to leave out, such as 'criterion.*'; repeatable."
SET = "A setting of the network, such as zero_pad_both_sides=true; repeatable."


@app.command()
def inspect(
    path: Annotated[str, Argument(metavar="FILE", help=FILE)],
    wrapper: Annotated[str | None, Option(help=WRAPPER)] = None,
    prefix: Annotated[str | None, Option(help=PREFIX)] = None,
    ignore: Annotated[list[str] | None, Option(help=IGNORE)] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Identify the network in a weight file, with the reasons and the doubts. No code from the file is run.

    Example: resnets weights inspect resnet50-0676ba61.pth
    """
    from resnets.weights import describe_checkpoint, identify

    found = identify.inspect(path, wrapper=wrapper, prefix=prefix, ignore=ignore or ())
    lines = [*found.lines(), *(describe_checkpoint.lines(path) if found.container == "resnets" else ())]
    if as_json:
        output.print_json({**_describe(found), "lines": lines})
        return
    for line in lines:
        output.print_line(line)


@app.command()
def convert(
    path: Annotated[str, Argument(metavar="FILE", help=FILE)],
    to: Annotated[str, Option(help="resnets, torchvision, timm, huggingface, keras, smp or darknet.")],
    out: Annotated[
        str, Option(*flags.OUT_DIR, help="The file to write; a folder for huggingface, and for timm without a suffix.")
    ],
    model: Annotated[str | None, Option(help=MODEL)] = None,
    assignments: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help=SET)] = None,
    map_file: Annotated[str | None, Option("--map", help=MAP)] = None,
    wrapper: Annotated[str | None, Option(help=WRAPPER)] = None,
    prefix: Annotated[str | None, Option(help=PREFIX)] = None,
    ignore: Annotated[list[str] | None, Option(help=IGNORE)] = None,
    preprocess: Annotated[
        str | None, Option(help="The preprocessing that the network was trained with: imagenet, caffe (BGR) or tf.")
    ] = None,
    class_names: Annotated[
        str | None, Option(help="Text file with one class name per line, in the order of the outputs.")
    ] = None,
    num_classes: Annotated[
        int | None, Option(help="Replace the head by an untrained one with this number of classes.")
    ] = None,
    in_channels: Annotated[int | None, Option(help="Number of input channels in place of 3: 1, or 4 and more.")] = None,
    no_top: Annotated[bool, Option("--no-top", help="Leave the last layer out.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Write weights in another format. Every tensor is used once, or nothing is written.

    Example: resnets weights convert resnet18-f37072fd.pth --to resnets --out resnet18.safetensors
    """
    import shlex

    from resnets.api import weights as api
    from resnets.errors import UserError
    from resnets.weights import identify

    try:
        result = api.convert(
            path,
            to=to,
            out=out,
            model=model,
            settings=flags.parse_settings(assignments or ()),
            map=map_file,
            wrapper=wrapper,
            prefix=prefix,
            ignore=ignore or (),
            preprocess=preprocess,
            class_names=_read_class_names(class_names),
            num_classes=num_classes,
            in_channels=in_channels,
            no_top=no_top,
        )
    except identify.UndecidedError as error:
        typed = shlex.join(["resnets", "weights", "convert", path, "--to", to, "--out", out])
        commands = ", or ".join(f"{typed} --model {name} ({what})" for name, what in error.models.items())
        raise UserError(f"{error} Type {commands}." if commands else str(error)) from None
    if as_json:
        output.print_json(result.to_dict())
        return
    for line in result.notes:
        output.print_line(line)


@app.command()
def verify(
    first: Annotated[str, Argument(metavar="A", help=FILE)],
    second: Annotated[str, Argument(metavar="B", help="The weight file to compare with.")],
    images: Annotated[
        list[str] | None, Option(help="An image file or a folder; repeatable.  [default: generated ones]")
    ] = None,
    model: Annotated[str | None, Option(help=MODEL)] = None,
    assignments: Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help=SET)] = None,
    map_file: Annotated[str | None, Option("--map", help=MAP)] = None,
    wrapper: Annotated[str | None, Option(help=WRAPPER)] = None,
    prefix: Annotated[str | None, Option(help=PREFIX)] = None,
    ignore: Annotated[list[str] | None, Option(help=IGNORE)] = None,
    imgsz: Annotated[
        int | None,
        Option(*flags.IMGSZ, help="Image size in pixels; resnets then prepares all images.  [default: the file's]"),
    ] = None,
    tolerance: Annotated[float, Option(help="Largest allowed difference of a probability.")] = TOLERANCE,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compare two weight files on the same images, and with the library of each where it is installed.

    Preprocessing is included. The exit code is 1 if a probability differs by more than the tolerance (known differences of a
    library are printed and subtracted), or if both networks get the same tensors and a logit differs by more than a hundredth
    of the tolerance, relative to the largest logit.

    Example: resnets weights verify resnet18-f37072fd.pth resnet18.safetensors
    """
    from resnets.api import weights as api

    result = api.verify(
        first,
        second,
        images=images or (),
        imgsz=imgsz,
        tolerance=tolerance,
        model=model,
        settings=flags.parse_settings(assignments or ()),
        map=map_file,
        wrapper=wrapper,
        prefix=prefix,
        ignore=ignore or (),
    )
    if as_json:
        output.print_json(result.to_dict())
    else:
        for line in (*result.comparisons, *result.notes):
            output.print_line(line)
        for each in result.comparisons:
            if excess := each.excess(tolerance):
                output.print_line(f"beyond the tolerance, {each.first} against {each.second}: {excess}")
        verdict = "equal within" if result.equal else "different beyond"
        largest = max(each.difference for each in result.comparisons)
        output.print_line(
            f"{verdict} the tolerance: the largest difference of a probability is {largest:.2g} (--tolerance {tolerance:g})"
        )
    if not result.equal:
        raise typer.Exit(1)


@app.command("list")
def list_(
    pattern: Annotated[str, Argument(help="A part of a name, or a pattern such as 'resnet50.*'.")] = "*",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List weights by name, bundled and published: accuracy, size, license, and whether they are on this machine.

    Example: resnets weights list 'resnet50.*'
    """
    from rich.console import Console

    from resnets.errors import UserError
    from resnets.message_format import suggestion
    from resnets.weights.hub import bundled, catalog

    known = bundled.entries() | catalog.entries()
    found = [known[name] for name in catalog.matching(pattern, known)]
    if not found:
        hint = suggestion(pattern.strip("*?"), known) or " `resnets weights list` shows them all."
        raise UserError(f"No published weights are called '{pattern}'.{hint}")
    if as_json:
        output.print_json([_values(entry) for entry in found])
        return
    console = Console(width=output.console_width(), highlight=False)
    console.print(_table(found, wide=console.width >= WIDE))


def _describe(found: Inspection) -> dict[str, Any]:
    """The content of a file for JSON; several networks if its tensors cannot distinguish them."""
    candidates = found.candidates
    return {
        "path": str(found.path),
        "container": found.container,
        "format": candidates[0].format if candidates else None,
        "networks": list(dict.fromkeys(candidate.spec.name for candidate in candidates)),
        "assumed": list(candidates[0].assumed) if candidates else [],
        "doubts": list(candidates[0].doubts) if candidates else [],
    }


def _values(entry: PublishedWeights | BundledWeights) -> dict[str, Any]:
    """An entry for JSON; for bundled weights, what only a published file has (a URL, a hash, …) is null."""
    import dataclasses

    from resnets.weights.hub import catalog

    keys = [each.name for each in dataclasses.fields(catalog.PublishedWeights)]
    return {**dict.fromkeys(keys), **dataclasses.asdict(entry), "protocol": entry.protocol, "file": _file(entry)}


def _file(entry: PublishedWeights | BundledWeights) -> str | None:
    """The path of these weights on this machine, if they are there."""
    from resnets.weights.hub import bundled, catalog, download

    path = download.path_of(entry) if isinstance(entry, catalog.PublishedWeights) else bundled.path_of(entry.name)
    return str(path) if path and path.is_file() else None


def _table(entries: list[PublishedWeights | BundledWeights], *, wide: bool) -> Table:
    import re

    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1 if wide else 0, 0, 0))
    every = {"Top-1": "top1", "Top-5": "top5", "Box AP": "box_ap", "mIoU": "miou"}
    present = [title for title, key in every.items() if any(getattr(entry, key) is not None for entry in entries)]
    accuracies = {title: every[title] for title in (present if wide else present[:1])}
    figures = [*accuracies, *(["MiB", "Protocol"] if wide else [])]
    titles = ["Name", "Network", *figures, "License", "Here"]
    for title in titles:
        # A name is copied, so it is never cut or folded.
        is_number = title in accuracies or title == "MiB"
        justify: Any = "right" if is_number else "left"
        table.add_column(title, justify=justify, no_wrap=title == "Name" or is_number or not wide, overflow="fold")
    for entry in entries:
        settings = "".join(f" {key}={_short(value)}" for key, value in entry.overrides.items())
        cells = {
            "Name": entry.name,
            # A narrow terminal has no room for all of a network, which the name of its weights has too.
            "Network": f"{entry.model}{settings}"
            if wide
            else re.sub("^keras_|(?<=rcnn)_.*|(?<=^fcn)_.*|(?<=labv3)_.*", "", entry.model),
            **{title: _number(getattr(entry, key)) for title, key in accuracies.items()},
            "MiB": f"{entry.megabytes:.0f}" if entry.megabytes else "?",
            "Protocol": entry.protocol,
            "License": entry.license
            if wide
            else entry.license.removesuffix("-clause").removesuffix("-2.0").removesuffix(".0").removesuffix("-4"),
            "Here": "yes" if _file(entry) else "",
        }
        table.add_row(*(cells[title] for title in titles))
    return table


def _short(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _read_class_names(path: str | None) -> tuple[str, ...]:
    from pathlib import Path

    from resnets.errors import UserError

    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in Path(path).read_text("utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not a text file of class names: {error}.") from None
