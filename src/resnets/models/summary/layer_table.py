"""The layer table of a network, with parameters and multiply-adds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models.summary import called_layers, graph

LAYOUTS = ("chw", "hwc")


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        name: the module's path in the network; for an operation that is not a module, such as an addition, the path of the module
            that computes it.
        type: Keras' name of such a layer.
        shape: of the output, the batch first; `None` for any number of images.
        parameters: as Keras counts them, including the moving mean and variance of batch normalization.
        multiply_adds: of a convolution or a dense layer, for one image; 0 for other layers.
        connected_to: the names of its input layers; for an addition, the branch before the shortcut.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int
    connected_to: tuple[str, ...]


@dataclass(frozen=True)
class Totals:
    """Numbers of parameters; the moving statistics of batch normalization are non-trainable."""

    parameters: int
    trainable: int
    non_trainable: int


def rows(net: nn.Module, imgsz: int | tuple[int, int], *, layout: str = "chw", batch: int | None = None) -> list[Row]:
    """The layers of `net` for images of `imgsz` (a side, or height and width), in the order of Keras' summary.

    Args:
        net: a network that starts with a convolution and that torch.fx can trace, or a detector or segmenter. It is not changed.
        imgsz: size of the image in pixels.
        layout: "chw" for shapes with the channels first, as in PyTorch, or "hwc" with the channels last.
        batch: the first item of the shapes.

    Returns:
        A row for each layer.

    Raises:
        UserError: the layout is unknown.
        ValueError: the images are too small for the network.
    """
    if layout not in LAYOUTS:
        raise UserError(f"Unknown layout '{layout}'; it is one of {', '.join(LAYOUTS)}.{suggestion(layout, LAYOUTS)}")
    return [
        Row(
            name=layer.name,
            type=layer.type,
            shape=(batch, *_in_layout(layer.shape, layout)),
            parameters=_parameters(layer),
            multiply_adds=_multiply_adds(layer),
            connected_to=tuple(inner.name for inner in layer.inputs),
        )
        for layer in _layers(net, imgsz)
    ]


def _layers(net: nn.Module, imgsz: int | tuple[int, int]) -> list[graph.Layer]:
    if hasattr(net, "dense"):
        return called_layers.layers(net, (imgsz, imgsz) if isinstance(imgsz, int) else imgsz)
    return graph.layers(net, imgsz)


def totals(net: nn.Module) -> Totals:
    """The parameters of `net` as Keras counts them."""
    trainable = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in net.parameters() if not parameter.requires_grad)
    moving = sum(_num_moving_statistics(module) for module in net.modules())
    return Totals(trainable + frozen + moving, trainable, frozen + moving)


def multiply_adds(net: nn.Module, imgsz: int | tuple[int, int]) -> int:
    """The multiply-adds of all convolutions and dense layers for one image of `imgsz`.

    Biases, normalizations, activations and poolings are not counted, as in the tables of the papers.
    """
    return sum(_multiply_adds(layer) for layer in graph.layers(net, imgsz))


def short(count: int) -> str:
    """A large number with three digits: "4.09 G", "253 M"."""
    number, unit = (count / 1e9, "G") if count >= 1e9 else (count / 1e6, "M")
    return f"{number:#.3g}".rstrip(".") + f" {unit}"


def document(rows: Sequence[Row], totals: Totals, *, imgsz: tuple[int, int]) -> dict[str, Any]:
    """The rows and the totals as values that JSON can hold."""
    return {
        "imgsz": list(imgsz),
        "layers": [asdict(row) for row in rows],
        "totals": {**asdict(totals), "multiply_adds": sum(row.multiply_adds for row in rows)},
    }


def _in_layout(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if layout == "hwc" else shape


def _parameters(layer: graph.Layer) -> int:
    if layer.module is None or layer.repeated:
        return 0
    return sum(parameter.numel() for parameter in layer.module.parameters()) + _num_moving_statistics(layer.module)


def _num_moving_statistics(module: nn.Module) -> int:
    """The number of values in the moving mean and variance of one batch normalization."""
    moving = (getattr(module, name, None) for name in ("running_mean", "running_var"))
    return sum(tensor.numel() for tensor in moving if isinstance(tensor, Tensor))


def _multiply_adds(layer: graph.Layer) -> int:
    module = layer.module
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        positions = layer.regions * prod(layer.shape)
        # Each number of the input of a transposed convolution is used once for each number of a kernel.
        used = prod(module.stride) if isinstance(module, nn.ConvTranspose2d) else 1
        return positions * prod(module.kernel_size) * module.in_channels // (module.groups * used)
    if isinstance(module, nn.Linear):
        return layer.regions * prod(layer.shape) * module.in_features
    return 0
