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

    Example: resnets models 'keras_*'
    """
    from resnets.models import zoo

    entries = {name: zoo.find(name) for name in zoo.list_models(pattern)}
    if not entries:
        hint = (
            suggestion(pattern.strip("*?"), zoo.list_models()) or " `resnets models` without a pattern lists them all."
        )
        raise UserError(f"No network is called '{pattern}'.{hint}")
    if as_json:
        output.print_json([_values(name, entry) for name, entry in entries.items()])
        return

    from rich.console import Console

    console = Console(width=output.console_width(), highlight=False)
    console.print(_table(entries, console.width))
    console.print("\nPapers and files:")
    for paper in dict.fromkeys(entry.paper for entry in entries.values()):
        console.print(f"  {paper}", markup=False)


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


def _table(entries: dict[str, Entry], width: int) -> Table:
    from rich import box
    from rich.table import Table

    from resnets.models.summary.layer_table import short

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Name", no_wrap=True)
    table.add_column("Paper", max_width=18 if width < 120 else None)  # leaves the width to the error
    table.add_column("Parameters", justify="right", no_wrap=True)
    table.add_column("Multiply-adds", justify="right", no_wrap=True)
    table.add_column("Published error, %")
    for name, entry in entries.items():
        operations = f"{short(entry.multiply_adds)} at {entry.imgsz:3}"
        table.add_row(name, re.split("[,;]", entry.paper)[0], f"{entry.parameters:,}", operations, entry.error)
    return table
