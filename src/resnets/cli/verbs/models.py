"""`resnets models`."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from resnets.cli import output
from resnets.errors import UserError
from resnets.message_format import suggestion

if TYPE_CHECKING:
    from rich.table import Table

    from resnets.models.zoo import Entry

MANY = 40  # rows of a table, above which their number stands first


def models(
    pattern: Annotated[str, Argument(help="A part of a name, or a pattern such as 'cifar_*'.")] = "*",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks: paper or file, parameters, multiply-adds, and the published error with its protocol.

    A pattern that no network matches lists detectors and segmenters, which are named after their networks: resnets models yolov3

    Example: resnets models 'keras_*'
    """
    from rich.console import Console

    from resnets.models import model_names, zoo
    from resnets.models.detection import prefixes as detectors
    from resnets.models.segmentation import prefixes as segmenters

    entries = {name: zoo.find(name) for name in zoo.list_models(pattern)}
    names = [] if entries else model_names.list_built_on_networks(pattern)
    if not entries and not names:
        known = [*zoo.list_models(), *model_names.list_built_on_networks()]
        hint = suggestion(pattern.strip("*?"), known) or " `resnets models` without a pattern lists them all."
        raise UserError(f"No network is called '{pattern}'.{hint}")
    if as_json:
        values = [_values(name, entry) for name, entry in entries.items()]
        output.print_json([*values, *(_values_of_built(name) for name in names)])
        return
    console = Console(width=output.console_width(), highlight=False)
    if names:
        for line in _count_built(names) if len(names) > MANY else ():
            console.print(line, markup=False)
        console.print(_table_of_built(names))
        return
    console.print(_table(entries, console.width))
    console.print("\nPapers and files:")
    for paper in dict.fromkeys(entry.paper for entry in entries.values()):
        console.print(f"  {paper}", markup=False)
    if len(entries) == len(zoo.entries()):
        for title, example, of in (("Detectors", "yolov3", detectors), ("Segmenters", "unet", segmenters)):
            console.print(
                f"\n{title}, NAME being one of these networks (`resnets models {example}` lists those of a kind):"
            )
            for prefix, description in of.DESCRIPTIONS.items():
                console.print(f"  {prefix + 'NAME':22} {description}", markup=False)


def _values(name: str, entry: Entry) -> dict[str, str | int | None]:
    return {
        "name": name,
        "paper": entry.paper,
        "parameters": entry.parameters,
        "multiply_adds": entry.multiply_adds,
        "imgsz": entry.imgsz,
        "num_classes": entry.spec.num_classes,
        "published_error": entry.error or None,
    }


def _values_of_built(name: str) -> dict[str, str]:
    """Of a detector or a segmenter."""
    from resnets.models import model_names
    from resnets.models.detection import zoo as detectors
    from resnets.models.segmentation import zoo as segmenters

    if model_names.kind(name) == "segmenter":
        settings, backbone = segmenters.get(name)
        return {"name": name, "architecture": settings.architecture, "backbone": backbone.name}
    detector, backbone = detectors.get(name)
    return {"name": name, "architecture": detector.architecture, "layout": detector.layout, "backbone": backbone.name}


def _count_built(names: list[str]) -> list[str]:
    """How many of many names each kind has, and how to list fewer."""
    from resnets.models.detection import prefixes as detectors
    from resnets.models.segmentation import prefixes as segmenters

    kinds = Counter(detectors.prefix_of(name) or segmenters.prefix_of(name) or "" for name in names)
    first = next(iter(kinds))
    lines = [f"{len(names):,} models; `resnets models '{first}resnet5*'` lists fewer:"]
    return lines + [f"  {f'{prefix}NAME':22} {count:,}" for prefix, count in kinds.items()] + [""]


def _table_of_built(names: list[str]) -> Table:
    from resnets.models import model_names
    from resnets.models.detection import prefixes as detectors
    from resnets.models.segmentation import prefixes as segmenters

    table = _new_table("Name", "Network", "Kind")
    for name in names:
        of = detectors if model_names.kind(name) == "detector" else segmenters
        is_torchvision = name in detectors.TORCHVISION
        described = f"torchvision's {name}" if is_torchvision else of.DESCRIPTIONS[of.prefix_of(name) or ""]
        table.add_row(name, model_names.backbone_name(name), described)
    return table


def _new_table(*titles: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, no_wrap=title == "Name")
    return table


def _table(entries: dict[str, Entry], width: int) -> Table:
    from resnets.models.summary.layer_table import short

    table = _new_table("Name")
    table.add_column("Paper", max_width=18 if width < 120 else None)  # leaves the width to the error
    table.add_column("Parameters", justify="right", no_wrap=True)
    table.add_column("Multiply-adds", justify="right", no_wrap=True)
    table.add_column("Published error, %")
    for name, entry in entries.items():
        operations = f"{short(entry.multiply_adds)} at {entry.imgsz:3}"
        table.add_row(name, re.split("[,;]", entry.paper)[0], f"{entry.parameters:,}", operations, entry.error)
    return table
