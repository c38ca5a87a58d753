"""`resnets summary`."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from resnets.cli import flags, output
from resnets.errors import UserError


def summary(
    name: Annotated[str, Argument(help="A network of `resnets models`.")],
    imgsz: Annotated[
        str | None, Option(*flags.IMGSZ, help="Image size in pixels, or HEIGHTxWIDTH.  [default: the network's own]")
    ] = None,
    num_classes: Annotated[int | None, Option(help="Number of outputs.  [default: the network's own]")] = None,
    in_channels: Annotated[int, Option(help="Number of channels of the image.")] = 3,
    layout: Annotated[str, Option(help="Shapes with channels first (chw) or last (hwc).")] = "chw",
    assignments: Annotated[
        list[str] | None,
        Option("--set", metavar="KEY=VALUE", help="Any setting of the network, such as stem=cifar; repeatable."),
    ] = None,
    draw: Annotated[Path | None, Option(help="Also draw the network to this .svg or .png file.")] = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the layers of a network: type, output shape, parameters and connections, then the totals.

    Example: resnets summary resnet50 --layout hwc --draw resnet50.svg
    """
    from resnets.api import summary as api
    from resnets.models.summary import diagram
    from resnets.progress import log

    if draw:
        diagram.check_writable(draw)
    settings: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "layout": layout}
    settings |= flags.parse_settings(assignments or ())
    if imgsz:
        settings["imgsz"] = _parse_size(imgsz)
    result = api.summary(name, **settings)
    # Printed before it is drawn: with a full disk the result is not lost.
    if as_json:
        output.print_json(result.to_dict())
    else:
        output.echo(result.table(_width()), end="")
    if draw:
        result.draw(draw)
        log(f"drawn: {draw}")


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", text.strip())
    if not found or int(found[1]) == 0 or found[2] == "0":
        raise UserError(f"--imgsz is a side in pixels such as 224, or HEIGHTxWIDTH such as 193x161; received '{text}'.")
    return int(found[1]), int(found[2] or found[1])


def _width() -> int | None:
    """Columns of the terminal; None for a pipe or a file, where no line is folded."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if known else None
