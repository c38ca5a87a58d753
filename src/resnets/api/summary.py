"""`resnets.summary`: the layers of a network, their output shapes, parameters and multiply-adds."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from resnets.errors import UserError
from resnets.models import model_names, zoo
from resnets.models.detection import zoo as detectors
from resnets.models.resnet import ResNet
from resnets.models.summary import diagram, layer_table
from resnets.models.summary.layer_table import Row, Totals
from resnets.weights.create_model import create_model

UNFOLDED = 1000  # characters of a line, more than any row has


@dataclass(frozen=True)
class NetworkSummary:
    """The layer table of a network.

    Attributes:
        name: of the network.
        imgsz: (height, width) of the image in pixels.
        layers: a row for each layer, with its type, output shape, parameters, multiply-adds and inputs.
        totals: numbers of parameters.
        model: the network on torch's meta device, without values.
    """

    name: str
    imgsz: tuple[int, int]
    layers: list[Row]
    totals: Totals
    model: nn.Module = field(repr=False)

    @property
    def multiply_adds(self) -> int:
        """Multiplications of all convolutions and dense layers for one image, each with its addition."""
        return sum(row.multiply_adds for row in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """The summary for JSON."""
        return {"name": self.name, **layer_table.document(self.layers, self.totals, imgsz=self.imgsz)}

    def table(self, width: int | None = None) -> str:
        """The layer table and the totals as text, its lines folded to `width` characters."""
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for title in ("Layer (type)", "Output shape", "Param #", "Connected to"):
            grid.add_column(title, overflow="fold", justify="right" if title == "Param #" else "left")
        for row in self.layers:
            shape, inputs = f"({', '.join(map(str, row.shape))})", ", ".join(row.connected_to)
            grid.add_row(f"{row.name} ({row.type})", shape, f"{row.parameters:,}", inputs)
        console = Console(file=io.StringIO(), width=width or UNFOLDED, color_system=None, markup=False, highlight=False)
        with console.capture() as captured:
            console.print(grid)
        lines = [
            *(line.rstrip() for line in captured.get().splitlines()),
            "",
            f"Total params: {self.totals.parameters:,}",
            f"Trainable params: {self.totals.trainable:,}",
            f"Non-trainable params: {self.totals.non_trainable:,}",
            f"Multiply-adds: {self.multiply_adds:,}",
        ]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.table()

    def draw(self, path: str | Path) -> None:
        """Draw the network to a .svg or .png file.

        Raises:
            UserError: another suffix, a file that cannot be written, or a detector or segmenter.
        """
        if not isinstance(self.model, ResNet):
            kind, backbone = model_names.kind(self.name), model_names.backbone_name(self.name)
            raise UserError(f"Networks are drawn, {kind}s are not: '{backbone}' is that of this.")
        diagram.draw(self.model, path, self.imgsz, title=self.name)


def summary(
    name: str,
    *,
    imgsz: int | tuple[int, int] | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    layout: str = "chw",
    **settings: Any,
) -> NetworkSummary:
    """Summarize a network: the layers with their output shapes, parameters and connections, and the totals.

    Args:
        name: a network of `resnets.list_models()`, a detector or a segmenter.
        imgsz: side of the image in pixels, or (height, width); None for the network's own.
        num_classes: number of outputs; None for the network's own, which are 90 for a detector and 21 for a segmenter.
        in_channels: number of channels of the image.
        layout: "chw" for shapes with the channels first, "hwc" with the channels last.
        settings: any other setting of the network, such as `stem="cifar"`.

    Returns:
        The summary; `print` shows its table, `.draw("resnet50.svg")` draws the network.

    Raises:
        UserError: there is no such network or setting, a number is out of range, or the image is too small.
    """
    if num_classes is not None and num_classes < 1:
        raise UserError(f"`num_classes` is a number of outputs, at least 1; received {num_classes}.")
    kind = model_names.kind(name)
    own = zoo.find(model_names.backbone_name(name)).imgsz
    usual = detectors.get(name)[0].usual_imgsz if kind == "detector" else own
    size = _size(imgsz) if imgsz is not None else (usual, usual)
    settings = {"num_classes": num_classes, "in_channels": in_channels} | settings
    if size[0] == size[1] and kind is None:
        settings.setdefault("imgsz", size[0])
    with torch.device("meta"):  # shapes are enough
        model = create_model(name, **settings)
    try:
        rows = layer_table.rows(model, size, layout=layout)
    except ValueError as error:  # too small an image
        raise UserError(str(error)) from error
    return NetworkSummary(name, size, rows, layer_table.totals(model), model)


def _size(imgsz: int | tuple[int, int]) -> tuple[int, int]:
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        raise UserError(f"`imgsz` is a side in pixels, or a height and a width; received {imgsz!r}.")
    return size
