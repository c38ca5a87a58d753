"""`resnets models`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from resnets.cli import output
from resnets.errors import UserError
from resnets.message_format import suggestion

if TYPE_CHECKING:
    from rich.table import Table

    from resnets.models.zoo import Entry


def models(
    pattern: Annotated[str, Argument(help="A part of a name, or a pattern such as 'cifar_*'.")] = "*",
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the networks: paper or file, parameters, multiply-adds, and the published error with its protocol.

    A pattern that no network matches lists detectors, which are named after their networks: resnets models yolov3

    Example: resnets models 'keras_*'
    """
    from rich.console import Console

    from resnets.models import zoo
    from resnets.models.detection import zoo as detectors
    from resnets.models.detection.prefixes import DESCRIPTIONS

    entries = {name: zoo.find(name) for name in zoo.list_models(pattern)}
    names = [] if entries else detectors.list_models(pattern)
    if not entries and not names:
        known = [*zoo.list_models(), *detectors.list_models()]
        hint = suggestion(pattern.strip("*?"), known) or " `resnets models` without a pattern lists them all."
        raise UserError(f"No network is called '{pattern}'.{hint}")
    if as_json:
        values = [_values(name, entry) for name, entry in entries.items()]
        output.print_json([*values, *(_detector_values(name) for name in names)])
        return
    console = Console(width=output.console_width(), highlight=False)
    if names:
        console.print(_detector_table(names))
        return
    console.print(_table(entries, console.width))
    console.print("\nPapers and files:")
    for paper in dict.fromkeys(entry.paper for entry in entries.values()):
        console.print(f"  {paper}", markup=False)
    if len(entries) == len(zoo.entries()):
        console.print("\nDetectors, NAME being one of these networks (`resnets models yolov3` lists those of a kind):")
        for prefix, description in DESCRIPTIONS.items():
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


def _detector_values(name: str) -> dict[str, str]:
    from resnets.models.detection import zoo as detectors

    settings, backbone = detectors.get(name)
    return {"name": name, "architecture": settings.architecture, "layout": settings.layout, "backbone": backbone.name}


def _detector_table(names: list[str]) -> Table:
    from resnets.models.detection import prefixes
    from resnets.models.detection import zoo as detectors

    table = _new_table("Name", "Network", "Detector")
    for name in names:
        prefix = prefixes.prefix_of(name) or ""
        described = f"torchvision's {name}" if name in prefixes.TORCHVISION else prefixes.DESCRIPTIONS[prefix]
        table.add_row(name, detectors.get(name)[1].name, described)
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
