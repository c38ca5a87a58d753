"""The content of a network's diagram: stem, stages, blocks with their shortcuts, and head, from the network's graph."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from torch import nn

from resnets.models.blocks import HighwayBlock
from resnets.models.shortcuts import ZeroPad
from resnets.models.summary import graph
from resnets.models.summary.graph import Layer
from resnets.models.variants.block_variants import GatedBlock, GatedShortcutBlock, ScaledBlock


@dataclass(frozen=True)
class Box:
    """A box of the drawing."""

    text: str  # such as "3×3 conv, 64"
    note: str = ""  # a second line in small letters, such as "32 groups"
    stride: int = 1  # of the layer
    large: bool = False  # whether it is a convolution, a dense layer or a pooling; other layers are drawn small


@dataclass(frozen=True)
class Shortcut:
    """The shortcut of a block."""

    # "A" (zero padding) or "B" (projection) of He et al. 2015; "D" (pooling and projection); "pool" (pooling, as in Keras'
    # V2); "dropped"; "identity"; or, by the block: "highway", "gated", "gated_shortcut" or "scaled".
    option: str
    boxes: tuple[Box, ...]  # its layers; empty for the identity
    gate: Box | None  # the layer that computes the gate T of a block; None if branch and shortcut are added
    shared: bool  # whether it starts after the layers before the branch


@dataclass(frozen=True)
class Block:
    """A block, from top to bottom; `shortcut` is None in a plain network."""

    before: tuple[Box, ...]
    branch: tuple[Box, ...]
    shortcut: Shortcut | None
    after: tuple[Box, ...]


@dataclass(frozen=True)
class Stage:
    """A stage: blocks with the same number of output channels."""

    name: str  # as in the network, such as "stage1"
    runs: tuple[tuple[Block, int], ...]  # the blocks in order, each with the number of consecutive repetitions
    shape: tuple[int, ...]  # of the output: (channels, height, width)


@dataclass(frozen=True)
class DiagramLayout:
    """The diagram of a network for images of one size; shapes are (channels, height, width)."""

    image: tuple[int, ...]
    stem: tuple[Box, ...]
    stem_shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    head: tuple[Box, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The options of all shortcuts, the identity first.

        "C" replaces "B" if blocks that do not change the shape have projections. ResNet-D's projections without a stride, which
        have no pooling, count as "D".
        """
        runs = [(number, *run) for stage in self.stages for number, run in enumerate(stage.runs)]
        kinds = [(block.shortcut.option, number > 0 or times > 1) for number, block, times in runs if block.shortcut]
        options = {option for option, _ in kinds}
        projection = "D" if "D" in options else "C" if ("B", True) in kinds else "B"
        return tuple(sorted({projection if option == "B" else option for option in options}, key="identityABCD".find))


def diagram_layout(net: nn.Module, imgsz: int | tuple[int, int]) -> DiagramLayout:
    """The diagram of `net`, which has a `stem` and `stages` of blocks with a `branch`, as all networks of the zoo do.

    Raises:
        ValueError: the images are too small for the network.
    """
    image, *layers = graph.layers(net, imgsz)
    stem, stage_layers = _under(layers, "stem"), [layer for layer in layers if layer.name.startswith("stage")]
    within = {*stem, *stage_layers}
    head = [layer for layer in layers if layer not in within]
    stages = [
        _stage(net, name, list(group)) for name, group in groupby(stage_layers, lambda layer: layer.name.split(".")[0])
    ]
    return DiagramLayout(image.shape, _boxes(net, stem), stem[-1].shape, tuple(stages), _boxes(net, head))


def _stage(net: nn.Module, name: str, layers: Sequence[Layer]) -> Stage:
    blocks = [_block(net, list(group)) for _, group in groupby(layers, lambda layer: layer.name.split(".")[1])]
    runs = tuple((block, len(list(same))) for block, same in groupby(blocks))
    return Stage(name, runs, layers[-1].shape)


def _block(net: nn.Module, layers: Sequence[Layer]) -> Block:
    path = ".".join(layers[0].name.split(".")[:2])
    branch, shortcut_layers = _under(layers, f"{path}.branch"), _under(layers, f"{path}.shortcut")
    before = _chain(branch[0].inputs[0], layers)
    join = next((layer for layer in layers if layer.name == f"{path}.add"), None)
    if join is None:
        after = layers[layers.index(branch[-1]) + 1 :]
        return Block(_boxes(net, before), _boxes(net, branch), None, _boxes(net, after))
    after = layers[layers.index(join) + 1 :]
    # The activation before the addition in an `ActBeforeBlock`.
    branch += [layer for layer in layers if layer.name == f"{path}.act" and layer.inputs == (branch[-1],)]
    gate = next((_box(layer) for layer in layers if layer.name == f"{path}.gate"), None)
    gate = gate and replace(gate, text=f"T: {gate.text}", note="sigmoid")
    shortcut_input = shortcut_layers[0].inputs[0] if shortcut_layers else join.inputs[-1]
    block = net.get_submodule(path)
    known = (option for kind, option in _OPTIONS.items() if type(block) is kind)
    option = next(known, None) or _option(shortcut_layers)
    branch_boxes, shortcut_boxes = _boxes(net, branch), _boxes(net, shortcut_layers)
    if isinstance(block, ScaledBlock):
        branch_boxes += (Box(f"× {block.branch_scale:g}"),)
        shortcut_boxes += (Box(f"× {block.shortcut_scale:g}"),)
    shortcut = Shortcut(option, shortcut_boxes, gate, shared=shortcut_input in before)
    return Block(_boxes(net, before), branch_boxes, shortcut, _boxes(net, after))


# Blocks that change what is added.
_OPTIONS: dict[type[nn.Module], str] = {
    HighwayBlock: "highway",
    GatedBlock: "gated",
    GatedShortcutBlock: "gated_shortcut",
    ScaledBlock: "scaled",
}


def _option(shortcut_layers: Sequence[Layer]) -> str:
    types = {layer.type for layer in shortcut_layers}
    if "Conv2D" in types:
        return "D" if "AveragePooling2D" in types else "B"
    if "ZeroPad" in types:
        return "A"
    if "MaxPooling2D" in types:
        return "pool"
    return "dropped" if types else "identity"


def _under(layers: Iterable[Layer], path: str) -> list[Layer]:
    return [layer for layer in layers if layer.name.startswith(f"{path}.") or layer.name == path]


def _chain(end: Layer, layers: Sequence[Layer]) -> list[Layer]:
    """The layers of the block that lead to `end`, which is the last of them; empty if `end` is before the block."""
    return [*_chain(end.inputs[0], layers), end] if end in layers else []


def _boxes(net: nn.Module, layers: Sequence[Layer]) -> tuple[Box, ...]:
    """One box for each layer, one for a whole attention module, and one for consecutive small layers."""
    boxes: list[Box] = []
    for branch, group in groupby(layers, lambda layer: layer.name.rpartition(".attention.")[0]):
        for box in [_attention(net, f"{branch}.attention")] if branch else map(_box, group):
            if boxes and not box.large and not boxes[-1].large:
                box = Box(f"{boxes.pop().text} · {box.text}")
            boxes.append(box)
    return tuple(boxes)


def _box(layer: Layer) -> Box:
    module = layer.module
    if isinstance(module, nn.Conv2d):
        note = f"{module.groups} groups" if module.groups > 1 else ""
        return Box(f"{_window(module)} conv, {module.out_channels}", note, _stride(module), large=True)
    if isinstance(module, nn.Linear):
        return Box(f"dense, {module.out_features}", large=True)
    if isinstance(module, nn.MaxPool2d):
        return Box(f"{_window(module)} max pool", stride=_stride(module), large=True)
    if isinstance(module, nn.AvgPool2d):
        return Box(f"{_window(module)} avg pool", stride=_stride(module), large=True)
    if isinstance(module, ZeroPad):
        return Box("zero-pad", f"to {layer.shape[0]} channels", module.stride, large=True)
    if layer.type in ("GlobalAveragePooling2D", "GlobalMaxPooling2D"):
        return Box(f"global {'avg' if 'Average' in layer.type else 'max'} pool", large=True)
    if isinstance(module, nn.ZeroPad2d):
        return Box(f"zero-pad {module.padding[0]}")
    if isinstance(module, nn.BatchNorm2d):
        return Box("BN")
    return Box(type(module).__name__ if module else layer.type.lower())


def _window(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> str:
    size = module.kernel_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return f"{height}×{width}"


def _stride(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> int:
    return module.stride[0] if isinstance(module.stride, tuple) else module.stride


def _attention(net: nn.Module, path: str) -> Box:
    """The name of the attention's class with spaces: "Squeeze Excite"."""
    return Box(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(net.get_submodule(path)).__name__), large=True)
