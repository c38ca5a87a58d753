"""The graph of a network's layers, with their inputs and output shapes, traced on the meta device."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from resnets.models.backbone import Backbone, check_size

# Keras' names of layers, as in its layer tables.
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
    nn.GELU: "Activation",
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
    """One call of a module or of a function."""

    # The module's path; for a function, the path of the module that calls it and the name of the function, such as
    # `stage1.block1.add`. A second call of the same has `_1` appended.
    name: str
    type: str  # Keras' name of such a layer
    shape: tuple[int, ...]  # of the output, without the batch: (channels, height, width) or (channels,)
    # The called module, with its tensors on the meta device; None for a function.
    module: nn.Module | None = field(default=None, repr=False)
    # Its input layers, the one with the longest path from the input first.
    inputs: tuple[Layer, ...] = field(default=(), repr=False)
    height: int = 0  # the number of layers on the longest path from the input to this one
    repeated: bool = False  # whether the module was called before, so that its parameters are already counted
    regions: int = 1  # regions of an image that a head of a detector is called on; `shape` is that of one


def layers(net: nn.Module, imgsz: int | tuple[int, int]) -> list[Layer]:
    """The layers of `net` for images of `imgsz` (a side, or height and width), in the order of Keras' models.

    A copy of the network in eval mode is traced by torch.fx and run on the meta device, which computes shapes only. Modules that
    compute nothing in eval mode are left out.

    Raises:
        ValueError: the images are too small for the network.
    """
    height, width = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    copied = on_meta_device(net).eval()
    parameter = next(copied.parameters())
    channels = next(module.in_channels for module in copied.modules() if isinstance(module, nn.Conv2d))
    image = torch.empty(1, channels, height, width, device="meta", dtype=parameter.dtype)
    if isinstance(net, Backbone):  # which a trace does not check
        check_size(image, net.min_size, net.fixed_size)
    graph = _Tracer().trace(copied)
    recorder = _Recorder(copied, graph=graph)
    with torch.no_grad():
        recorder.run(image)
    return by_depth(recorder.last)


def on_meta_device(net: nn.Module) -> nn.Module:
    """A copy of `net` with its parameters and buffers on the meta device: shapes without memory."""
    empty: dict[int, Any] = {}
    for tensor in itertools.chain(net.parameters(), net.buffers()):
        copied: Tensor = torch.empty_like(tensor, device="meta")
        if isinstance(tensor, nn.Parameter):
            copied = nn.Parameter(copied, requires_grad=tensor.requires_grad)
        empty[id(tensor)] = copied
    return copy.deepcopy(net, empty)


def by_depth(output: Layer) -> list[Layer]:
    """All layers that `output` depends on, in the order of Keras' `Model.layers`.

    The depth of a layer is the number of layers on the longest path from it to the output. The deepest layers come first. Layers
    of the same depth are in the order of a depth-first search from the output to the input, which follows the longest path first:
    a branch before its shortcut.
    """
    visited: dict[Layer, int] = {}
    pending = [output]
    while pending:
        layer = pending.pop()
        if layer not in visited:
            visited[layer] = len(visited)
            pending.extend(reversed(layer.inputs))
    depths = {output: 0}
    for layer in sorted(visited, key=lambda layer: -layer.height):  # the consumers of a layer have a greater height
        for input_layer in layer.inputs:
            depths[input_layer] = max(depths.get(input_layer, 0), depths[layer] + 1)
    return sorted(visited, key=lambda layer: (-depths[layer], visited[layer]))


class _Tracer(fx.Tracer):
    """Traces modules that have children; each other module is one layer."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs the traced graph and records the layer of each node."""

    def __init__(self, net: nn.Module, graph: fx.Graph) -> None:
        super().__init__(net, graph=graph)
        self.layer_of_node: dict[fx.Node, Layer | None] = {}
        self.names: Counter[str] = Counter()
        self.extra_traceback = False  # errors of resnets are shown without torch.fx's traceback

    @property
    def last(self) -> Layer:
        """The layer of the network's output."""
        (node,) = self.graph.find_nodes(op="output")
        layer = self.layer_of_node[node]
        assert layer is not None
        return layer

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Torch finds the shape of a batch norm in Python, which takes most of the time of a network.
        if isinstance(self.submodules[target], nn.BatchNorm2d):
            return torch.empty_like(args[0])
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        input_layers = [layer for node in n.all_input_nodes if (layer := self.layer_of_node[node])]
        inputs = tuple(sorted(input_layers, key=lambda layer: -layer.height))
        self.layer_of_node[n] = self._layer(n, value, inputs) if isinstance(value, Tensor) else None
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
        layer_type = module_type(module) if module else _function_type(node)
        if computes_nothing(layer_type) or (layer_type == "Flatten" and shape == inputs[0].shape):
            return inputs[0]
        if layer_type == "Flatten" and inputs[0].type.startswith("Global") and len(node.all_input_nodes[0].users) == 1:
            return replace(inputs[0], shape=shape)  # Keras' global pooling ends without height and width
        path = str(node.target) if module else f"{_owner(node)}.{_function_name(node)}".lstrip(".")
        count = self.names[path]
        self.names[path] += 1
        height = 1 + max(layer.height for layer in inputs)
        return Layer(
            f"{path}_{count}" if count else path, layer_type, shape, module, inputs, height, repeated=count > 0
        )


def _owner(node: fx.Node) -> str:
    """The path of the module whose `forward` calls the function; empty for the network itself."""
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


def computes_nothing(layer_type: str) -> bool:
    """Whether a layer returns its input in eval mode."""
    return layer_type in ("Identity", "StochasticDepth")


def module_type(module: nn.Module) -> str:
    """Keras' name of such a layer."""
    known = (name for layer_type, name in MODULES.items() if isinstance(module, layer_type))
    return next(known, type(module).__name__)
