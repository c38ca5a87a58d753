"""`resnets summary`."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from resnets.cli import output
from resnets.errors import UserError


def summary(
    name: Annotated[str, typer.Argument(help="A network of `resnets models`.")],
    imgsz: Annotated[
        str | None, typer.Option(help="Side of the image in pixels, or HEIGHTxWIDTH.  [default: the network's own]")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="Outputs.  [default: the network's own]")] = None,
    in_channels: Annotated[int, typer.Option(help="Channels of the image.")] = 3,
    layout: Annotated[str, typer.Option(help="Shapes with channels first (chw) or last (hwc).")] = "chw",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the network, such as stem=cifar; many times."),
    ] = None,
    draw: Annotated[Path | None, typer.Option(help="Draw the network to this .svg or .png file, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Show the layers of a network: type, output shape, parameters and connections, then the totals.

    Example: resnets summary resnet50 --layout hwc --draw resnet50.svg
    """
    import torch

    from resnets.models import zoo
    from resnets.models.summary import layer_table as layers
    from resnets.progress import log

    if draw:
        from resnets.models.summary import diagram

        diagram.check_place(draw)
    size = _size(imgsz) if imgsz else (zoo.find(name).imgsz,) * 2
    settings = {"num_classes": num_classes, "in_channels": in_channels} | dict(map(_setting, assignments or ()))
    if size[0] == size[1]:
        settings.setdefault("imgsz", size[0])
    with torch.device("meta"):  # shapes are enough
        net = zoo.create_model(name, **settings)
    try:
        rows = layers.rows(net, size, layout=layout)
    except ValueError as error:  # too small an image
        raise UserError(str(error)) from error
    totals = layers.totals(net)
    # Shown before it is drawn, so that a full disk takes nothing away.
    if as_json:
        output.echo(json.dumps({"name": name, **layers.document(rows, totals, imgsz=size)}, indent=2))
    else:
        output.echo(layers.table(rows, totals, width=_width()), end="")
    if draw:
        diagram.draw(net, draw, size, title=name)
        log(f"drawn: {draw}")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", text.strip())
    if not found or int(found[1]) == 0 or found[2] == "0":
        raise UserError(f"--imgsz is a side in pixels such as 224, or HEIGHTxWIDTH such as 193x161; received '{text}'.")
    return int(found[1]), int(found[2] or found[1])


def _setting(assignment: str) -> tuple[str, Any]:
    """`drop_path_rate=0.2` as a key and a number; `num_blocks=2,2` as a tuple; what is no literal is a word."""
    key, equals, text = assignment.partition("=")
    if not equals or key == "name":
        raise UserError(f"--set takes a network's setting as KEY=VALUE, such as stem=cifar; received '{assignment}'.")
    if text.lower() in ("true", "false"):
        return key, text.lower() == "true"
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return key, text


def _width() -> int | None:
    """Columns of the terminal; None for a pipe or a file, where no line is folded."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if known else None
