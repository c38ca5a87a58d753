"""What a drawing of a network shows: stem, stages, blocks with their shortcuts, head, read off the network's graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from resnets.models.shortcuts import ZeroPad
from resnets.models.summary import graph
from resnets.models.summary.graph import Layer


@dataclass(frozen=True)
class Piece:
    """A box of the drawing.

    Attributes:
        text: what stands in it, such as "3×3 conv, 64".
        note: a second line in small letters, such as "32 groups".
        stride: 1, or by how much it makes the image smaller.
        large: a convolution, a dense layer or a pooling; what stands between them is drawn small.
    """

    text: str
    note: str = ""
    stride: int = 1
    large: bool = False


@dataclass(frozen=True)
class Shortcut:
    """The way around a branch.

    Attributes:
        option: "A" pads with zeros and "B" projects, as He et al. 2015 call it; "D" pools and projects; "pool" only pools,
            as Keras' V2 does; "highway", or "identity".
        pieces: what lies on it; empty for the identity.
        gate: what computes a highway's gate T; None where the two ways are added as they are.
        shared: it begins behind what stands before the branch.
    """

    option: str
    pieces: tuple[Piece, ...]
    gate: Piece | None
    shared: bool


@dataclass(frozen=True)
class Block:
    """A block from above to below; without a shortcut in a plain network."""

    before: tuple[Piece, ...]
    branch: tuple[Piece, ...]
    shortcut: Shortcut | None
    after: tuple[Piece, ...]


@dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
        name: as in the network, such as "stage1".
        runs: the blocks in order, each with the number of times that it follows itself.
        shape: of the output: (channels, height, width).
    """

    name: str
    runs: tuple[tuple[Block, int], ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Anatomy:
    """A network for images of one size; shapes are (channels, height, width)."""

    image: tuple[int, ...]
    stem: tuple[Piece, ...]
    stem_shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    head: tuple[Piece, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The kinds of shortcut, the identity first. "C" stands for "B" where blocks project that leave the shape as it
        is; ResNet-D's projections without a stride, which have nothing to pool, belong to "D"."""
        runs = [(number, *run) for stage in self.stages for number, run in enumerate(stage.runs)]
        found = [(block.shortcut.option, number > 0 or times > 1) for number, block, times in runs if block.shortcut]
        options = {option for option, _ in found}
        projection = "D" if "D" in options else "C" if ("B", True) in found else "B"
        return tuple(sorted({projection if option == "B" else option for option in options}, key="identityABCD".find))


def anatomy(net: nn.Module, imgsz: int | tuple[int, int]) -> Anatomy:
    """The parts of `net`, which has a `stem` and `stages` of blocks with a `branch`, as all networks here have.

    Raises:
        ValueError: the network takes only larger images.
    """
    image, *layers = graph.layers(net, imgsz)
    stem, body = _under(layers, "stem"), [layer for layer in layers if layer.name.startswith("stage")]
    inner = {*stem, *body}
    head = [layer for layer in layers if layer not in inner]
    stages = [_stage(net, name, list(part)) for name, part in groupby(body, lambda layer: layer.name.split(".")[0])]
    return Anatomy(image.shape, _pieces(net, stem), stem[-1].shape, tuple(stages), _pieces(net, head))


def _stage(net: nn.Module, name: str, layers: Sequence[Layer]) -> Stage:
    blocks = [_block(net, list(part)) for _, part in groupby(layers, lambda layer: layer.name.split(".")[1])]
    runs = tuple((block, len(list(same))) for block, same in groupby(blocks))
    return Stage(name, runs, layers[-1].shape)


def _block(net: nn.Module, layers: Sequence[Layer]) -> Block:
    path = ".".join(layers[0].name.split(".")[:2])
    branch, around = _under(layers, f"{path}.branch"), _under(layers, f"{path}.shortcut")
    before = _chain(branch[0].inputs[0], layers)
    join = next((layer for layer in layers if layer.name == f"{path}.add"), None)
    if join is None:
        after = layers[layers.index(branch[-1]) + 1 :]
        return Block(_pieces(net, before), _pieces(net, branch), None, _pieces(net, after))
    after = layers[layers.index(join) + 1 :]
    gate = next((_piece(layer) for layer in layers if layer.name == f"{path}.gate"), None)
    gate = gate and replace(gate, text=f"T: {gate.text}", note="sigmoid")
    source = around[0].inputs[0] if around else join.inputs[-1]
    option = "highway" if gate else _option(around)
    shortcut = Shortcut(option, _pieces(net, around), gate, shared=source in before)
    return Block(_pieces(net, before), _pieces(net, branch), shortcut, _pieces(net, after))


def _option(around: Sequence[Layer]) -> str:
    types = {layer.type for layer in around}
    if "Conv2D" in types:
        return "D" if "AveragePooling2D" in types else "B"
    if "ZeroPad" in types:
        return "A"
    return "pool" if types else "identity"


def _under(layers: Iterable[Layer], path: str) -> list[Layer]:
    return [layer for layer in layers if layer.name.startswith(f"{path}.") or layer.name == path]


def _chain(end: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """The layers of the block that lead to `end`, which is the last of them; none if `end` stands before the block."""
    return [*_chain(end.inputs[0], layers), end] if end in layers else []


def _pieces(net: nn.Module, layers: Sequence[Layer]) -> tuple[Piece, ...]:
    """One piece for each layer, but one for all of an attention module, and one for small layers that follow each other."""
    pieces: list[Piece] = []
    for branch, group in groupby(layers, lambda layer: layer.name.rpartition(".attention.")[0]):
        for piece in [_attention(net, f"{branch}.attention")] if branch else map(_piece, group):
            if pieces and not piece.large and not pieces[-1].large:
                piece = Piece(f"{pieces.pop().text} · {piece.text}")
            pieces.append(piece)
    return tuple(pieces)


def _piece(layer: Layer) -> Piece:
    module = layer.module
    if isinstance(module, nn.Conv2d):
        note = f"{module.groups} groups" if module.groups > 1 else ""
        return Piece(f"{_window(module)} conv, {module.out_channels}", note, _stride(module), large=True)
    if isinstance(module, nn.Linear):
        return Piece(f"dense, {module.out_features}", large=True)
    if isinstance(module, nn.MaxPool2d):
        return Piece(f"{_window(module)} max pool", stride=_stride(module), large=True)
    if isinstance(module, nn.AvgPool2d):
        return Piece(f"{_window(module)} avg pool", stride=_stride(module), large=True)
    if isinstance(module, ZeroPad):
        return Piece("zero-pad", f"to {layer.shape[0]} channels", module.stride, large=True)
    if layer.type in ("GlobalAveragePooling2D", "GlobalMaxPooling2D"):
        return Piece(f"global {'avg' if 'Average' in layer.type else 'max'} pool", large=True)
    if isinstance(module, nn.ZeroPad2d):
        return Piece(f"zero-pad {module.padding[0]}")
    if isinstance(module, nn.BatchNorm2d):
        return Piece("BN")
    return Piece(type(module).__name__ if module else layer.type.lower())


def _window(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> str:
    size = module.kernel_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return f"{height}×{width}"


def _stride(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> int:
    return module.stride[0] if isinstance(module.stride, tuple) else module.stride


def _attention(net: nn.Module, path: str) -> Piece:
    """The name of the attention's class in words: "Squeeze Excite"."""
    return Piece(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(net.get_submodule(path)).__name__), large=True)
