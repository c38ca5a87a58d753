"""A network as the graph of its layers: what is computed, from what, in which shape. No image and no weight is touched."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnets.models.resnet import Backbone, check_size

# The names of Keras' layers, since people know tables of layers from there.
MODULES: dict[type[nn.Module], str] = {
    nn.Conv2d: "Conv2D",
    nn.Linear: "Dense",
    nn.BatchNorm2d: "BatchNormalization",
    nn.MaxPool2d: "MaxPooling2D",
    nn.AvgPool2d: "AveragePooling2D",
    nn.AdaptiveAvgPool2d: "GlobalAveragePooling2D",
    nn.AdaptiveMaxPool2d: "GlobalMaxPooling2D",
    nn.ZeroPad2d: "ZeroPadding2D",
    nn.ReLU: "Activation",
    nn.Sigmoid: "Activation",
}
FUNCTIONS: dict[str, str] = {
    "add": "Add",
    "iadd": "Add",
    "sub": "Subtract",
    "rsub": "Subtract",
    "mul": "Multiply",
    "cat": "Concatenate",
    "amax": "Max",
    "relu": "Activation",
    "sigmoid": "Activation",
    "softmax": "Activation",
    "pad": "ZeroPadding2D",
    "max_pool2d": "MaxPooling2D",
    "avg_pool2d": "AveragePooling2D",
    "adaptive_avg_pool2d": "GlobalAveragePooling2D",
    "adaptive_max_pool2d": "GlobalMaxPooling2D",
}


@dataclass(frozen=True, eq=False)
class Layer:
    """One call of a module or of a function.

    Attributes:
        name: the module's path; for a function, the path of the module that calls it and what it does, such as
            `stage1.block1.add`. A second call of the same has `_1` appended.
        type: what Keras calls such a layer.
        module: the called module, its tensors on the meta device; None for a function.
        inputs: the layers whose output it reads, the one with the longest way from the input first.
        shape: of the output, without the batch: (channels, height, width) or (channels,).
        height: the number of layers on the longest way from the input to this one.
        repeated: the module has been called before, so that its parameters are counted there.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    module: nn.Module | None = field(default=None, repr=False)
    inputs: tuple[Layer, ...] = field(default=(), repr=False)
    height: int = 0
    repeated: bool = False


def layers(net: nn.Module, imgsz: int | tuple[int, int]) -> list[Layer]:
    """The layers of `net` for images of `imgsz` (a side, or height and width), ordered as Keras orders a model's.

    The network is traced by torch.fx as it computes in evaluation, and run on the meta device, which knows shapes only;
    `net` itself stays as it is. What does not compute anything in evaluation is no layer.

    Raises:
        ValueError: the network takes only larger images.
    """
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    twin = without_data(net).eval()
    parameter = next(twin.parameters())
    channels = next(module.in_channels for module in twin.modules() if isinstance(module, nn.Conv2d))
    image = torch.empty(1, channels, height, width, device="meta", dtype=parameter.dtype)
    if isinstance(net, Backbone):  # a trace does not check it
        check_size(image, net.min_size, net.fixed_size)
    graph = _Tracer().trace(twin)
    recorder = _Recorder(twin, graph=graph)
    with torch.no_grad():
        recorder.run(image)
    return by_depth(recorder.last)


def without_data(net: nn.Module) -> nn.Module:
    """A copy of `net` whose parameters and buffers are on the meta device: all shapes, no memory."""
    empty: dict[int, Any] = {}
    for tensor in itertools.chain(net.parameters(), net.buffers()):
        twin: Tensor = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            twin = nn.Parameter(twin, requires_grad=tensor.requires_grad)
        empty[id(tensor)] = twin
    return copy.deepcopy(net, empty)


def by_depth(output: Layer) -> list[Layer]:
    """All layers that `output` needs, in the order of Keras' `Model.layers`.

    The depth of a layer is the number of layers on the longest way from it to the output. The deepest come first. Layers
    of one depth stand in the order in which a walk from the output toward the input meets them, which follows the
    longest way first: a branch before its shortcut.
    """
    met: dict[Layer, int] = {}
    pending = [output]
    while pending:
        layer = pending.pop()
        if layer not in met:
            met[layer] = len(met)
            pending.extend(reversed(layer.inputs))
    depths = {output: 0}
    for layer in sorted(met, key=lambda layer: -layer.height):  # everything that reads a layer stands higher than it
        for source in layer.inputs:
            depths[source] = max(depths.get(source, 0), depths[layer] + 1)
    return sorted(met, key=lambda layer: (-depths[layer], met[layer]))


class _Tracer(fx.Tracer):
    """Looks into modules that are made of others; each of the rest is one layer, like those of torch."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs the traced graph and keeps for each of its nodes the layer that gives its value."""

    def __init__(self, net: nn.Module, graph: fx.Graph) -> None:
        super().__init__(net, graph=graph)
        self.found: dict[fx.Node, Layer | None] = {}
        self.names: Counter[str] = Counter()
        self.extra_traceback = False  # an error of ours is told in its own words

    @property
    def last(self) -> Layer:
        """The layer whose value the network returns."""
        (node,) = self.graph.find_nodes(op="output")
        layer = self.found[node]
        assert layer is not None
        return layer

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        sources = [layer for node in n.all_input_nodes if (layer := self.found[node])]
        inputs = tuple(sorted(sources, key=lambda layer: -layer.height))
        self.found[n] = self._layer(n, value, inputs) if isinstance(value, Tensor) else None
        return value

    def _layer(self, node: fx.Node, value: Tensor, inputs: tuple[Layer, ...]) -> Layer | None:
        shape = tuple(value.shape[1:])
        if node.op == "placeholder":
            return Layer("input", "InputLayer", shape)
        if node.op == "get_attr":
            return None
        if node.op == "output":
            return inputs[0]
        module = self.submodules[str(node.target)] if node.op == "call_module" else None
        kind = _module_type(module) if module else _function_type(node)
        if kind in ("Identity", "StochasticDepth") or (kind == "Flatten" and shape == inputs[0].shape):
            return inputs[0]
        if kind == "Flatten" and inputs[0].type.startswith("Global") and len(node.all_input_nodes[0].users) == 1:
            return replace(inputs[0], shape=shape)  # Keras' global pooling ends without height and width
        path = str(node.target) if module else f"{_owner(node)}.{_function_name(node)}".lstrip(".")
        count = self.names[path]
        self.names[path] += 1
        height = 1 + max(layer.height for layer in inputs)
        return Layer(f"{path}_{count}" if count else path, kind, shape, module, inputs, height, repeated=count > 0)


def _owner(node: fx.Node) -> str:
    """The path of the module in whose `forward` the function is called; empty for the network itself."""
    stack = node.meta.get("nn_module_stack")
    return next(reversed(stack.values()))[0] if stack else ""


def _function_name(node: fx.Node) -> str:
    name = node.target if isinstance(node.target, str) else node.target.__name__
    return name.strip("_")


def _function_type(node: fx.Node) -> str:
    name = _function_name(node)
    if name in ("mean", "amax"):
        over = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        if over in ((2, 3), [2, 3], (-2, -1), [-2, -1]):
            return "GlobalAveragePooling2D" if name == "mean" else "GlobalMaxPooling2D"
    return FUNCTIONS.get(name) or "".join(word.capitalize() for word in name.split("_"))


def _module_type(module: nn.Module) -> str:
    known = (name for kind, name in MODULES.items() if isinstance(module, kind))
    return next(known, type(module).__name__)
