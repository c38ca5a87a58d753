"""Build a Keras model of any of our networks, by tracing the network and making the Keras layer of each operation.

The model maps images (N, height, width, channels) to logits. Layers have the paths of our modules, with `_` for each dot.
"""

import importlib.util
import json
import operator
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from resnets.errors import UserError
from resnets.models import layers as torch_layers
from resnets.models.build_network import build as build_torch
from resnets.models.resnet import ResNet
from resnets.models.shortcuts import ZeroPad
from resnets.models.spec import ResNetSpec


def import_keras() -> Any:
    """The module `keras` (Keras 3), on the backend that the user chose. Without a choice, or if the backend in Keras' own
    configuration file is not installed, on torch.

    Raises:
        UserError: Keras is not installed.
    """
    if importlib.util.find_spec("keras") is None:
        raise UserError("Keras is not installed; this needs it: pip install 'resnets[keras]'")
    if "KERAS_BACKEND" not in os.environ and importlib.util.find_spec(_configured()) is None:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ImportError as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        raise UserError(f"Keras cannot use its backend {backend} ({error}); set KERAS_BACKEND=torch.") from None
    return keras


def _configured() -> str:
    """The package of the backend in Keras' configuration file; Keras' default if there is none."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        backend = json.loads((Path(home) / "keras.json").read_text("utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"
    return backend if backend in ("tensorflow", "torch", "jax", "openvino") else "tensorflow"


def layer_name(path: str) -> str:
    """The name of the Keras layer for our module at `path`: "stage1.block1.branch.conv1" -> "stage1_block1_branch_conv1"."""
    return path.replace(".", "_")


def build(spec: ResNetSpec, *, top: bool = True, input_shape: tuple[int | None, int | None, int] | None = None) -> Any:
    """A Keras model of this network, freshly initialized as Keras does it, in Keras' default types.

    Args:
        top: whether it ends in logits (N, num_classes); otherwise in the feature maps of the last stage (N, h, w, C).
        input_shape: height, width and channels; None for any height and width that the network takes.

    Returns:
        A `keras.Model` from float images (N, height, width, channels).

    Raises:
        UserError: Keras is not installed, or keeps images as channels first; stochastic depth or dropout of shortcuts, which have
            no Keras layer.
    """
    keras = import_keras()
    if keras.config.image_data_format() != "channels_last":
        raise UserError("These models take images with the channels last: keras.config.set_image_data_format(...).")
    for key, words in (("drop_path_rate", "Stochastic depth"), ("shortcut_dropout", "Dropout of shortcuts")):
        if getattr(spec, key):
            raise UserError(f"{words} has no layer in Keras; take the specification with {key}=0.")
    with torch.device("meta"):
        net = build_torch(spec).eval()
    if input_shape is None:
        input_shape = (net.fixed_size, net.fixed_size, spec.in_channels)
    _check_shape(net, spec, input_shape, top)
    inputs = keras.Input(input_shape, name="input")
    outputs = _Interpreter(keras, net, top).run(inputs)
    return keras.Model(inputs, outputs, name=spec.name)


def _check_shape(net: ResNet, spec: ResNetSpec, shape: tuple[int | None, int | None, int], top: bool) -> None:
    sides, channels = shape[:2], shape[2]
    if channels != spec.in_channels:
        raise UserError(f"The network takes {spec.in_channels} channels; received input_shape={shape}.")
    if top and net.fixed_size and sides != (net.fixed_size, net.fixed_size):
        fit = f"spec.imgsz={net.fixed_size}"
        raise UserError(f"{spec.name} with {fit} takes images of that side only; received input_shape={shape}.")
    least = net.min_size if top else net.backbone().min_size
    if any(side is not None and side < least for side in sides):
        raise UserError(f"{spec.name} needs images of {least} pixels at least; received input_shape={shape}.")


class _Tracer(fx.Tracer):
    """Does not trace modules that have an equivalent Keras layer."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.MaxPool2d | ZeroPad) or super().is_leaf_module(
            m, module_qualified_name
        )


class _Interpreter:
    """Runs the graph of a network on Keras tensors."""

    def __init__(self, keras: Any, net: ResNet, top: bool) -> None:
        self.keras = keras
        root = net if top else net.backbone()
        self.graph = _Tracer().trace(root)
        self.modules = dict(root.named_modules())
        self.values: dict[str, Any] = {}  # by node
        self.layers_by_name: dict[str, Callable[[Any], Any]] = {}  # layers by name; CBAM calls two of them twice
        self.positive: set[str] = set()  # nodes whose values are never below 0

    def run(self, inputs: Any) -> Any:
        for node in self.graph.nodes:
            arguments = [self.values.get(each.name) if isinstance(each, fx.Node) else each for each in node.args]
            if node.op == "placeholder":
                self.values[node.name] = inputs
            elif node.op == "call_module":
                self.values[node.name] = self._module(node, str(node.target), arguments[0])
            elif node.op == "output":
                return arguments[0]
            else:
                self.values[node.name] = self._function(node, arguments)
        raise AssertionError("a graph has an output")

    def _module(self, node: fx.Node, path: str, x: Any) -> Any:
        layers, name, module = self.keras.layers, layer_name(path), self.modules[path]
        positive = str(node.args[0]) in self.positive  # a node's text is its name
        if isinstance(module, nn.Identity):
            if positive:
                self.positive.add(node.name)
            return x
        if isinstance(module, nn.ReLU | nn.Sigmoid):
            self.positive.add(node.name)
            kind = "relu" if isinstance(module, nn.ReLU) else "sigmoid"
            return self._layer(name, lambda: layers.Activation(kind, name=name))(x)
        if isinstance(module, nn.Conv2d):
            return self._convolution(module, name, x)
        if isinstance(module, nn.GELU):
            gelu = partial(self.keras.activations.gelu, approximate=False)
            return self._layer(name, lambda: layers.Activation(gelu, name=name))(x)
        if isinstance(module, nn.MaxPool2d):
            return self._max_pool(module, name, x, positive)
        if isinstance(module, ZeroPad):
            strided = x[:, :: module.stride, :: module.stride, :]
            return self.keras.ops.pad(strided, [[0, 0], [0, 0], [0, 0], [module.before, module.after]])
        return self._layer(name, lambda: self._make(module, name))(x)

    def _layer(self, name: str, make: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
        if name not in self.layers_by_name:
            self.layers_by_name[name] = make()
        return self.layers_by_name[name]

    def _make(self, module: nn.Module, name: str) -> Callable[[Any], Any]:
        """The Keras layer of a module that needs no further operation."""
        layers = self.keras.layers
        if isinstance(module, nn.BatchNorm2d):
            return layers.BatchNormalization(epsilon=module.eps, momentum=1 - (module.momentum or 0.0), name=name)
        if isinstance(module, nn.Linear):
            return layers.Dense(module.out_features, name=name)
        if isinstance(module, nn.ZeroPad2d):
            left, right, top, bottom = module.padding
            return layers.ZeroPadding2D(((top, bottom), (left, right)), name=name)
        if isinstance(module, nn.AvgPool2d):
            padding = "same" if module.ceil_mode else "valid"
            return layers.AveragePooling2D(module.kernel_size, module.stride, padding=padding, name=name)
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return layers.GlobalAveragePooling2D(keepdims=True, name=name)
        if isinstance(module, nn.AdaptiveMaxPool2d):
            return layers.GlobalMaxPooling2D(keepdims=True, name=name)
        if isinstance(module, nn.Dropout):
            return layers.Dropout(module.p, name=name)
        raise UserError(f"There is no Keras layer for '{name}', {type(module).__name__}.")

    def _convolution(self, module: nn.Conv2d, name: str, x: Any) -> Any:
        layers = self.keras.layers
        same = isinstance(module, torch_layers.SameConv2d)
        if not same and any(module.padding):
            x = layers.ZeroPadding2D(module.padding, name=f"{name}_pad")(x)  # symmetric at any stride, as torch's is
        make = partial(
            layers.Conv2D, module.out_channels, module.kernel_size, module.stride, padding="same" if same else "valid",
            groups=module.groups, use_bias=module.bias is not None, name=name,
        )  # fmt: skip
        return self._layer(name, make)(x)

    def _max_pool(self, module: nn.MaxPool2d, name: str, x: Any, positive: bool) -> Any:
        layers = self.keras.layers
        same = isinstance(module, torch_layers.SameMaxPool2d)
        pad = 0 if same else int(module.padding)  # type: ignore[arg-type]
        if pad and positive:  # zeros are never the maximum beside values that are never below 0
            x = layers.ZeroPadding2D(pad, name=f"{name}_pad")(x)
        elif pad:
            x = self.keras.ops.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]], constant_values=-float("inf"))
        side, stride = (module.window, module.step) if same else (module.kernel_size, module.stride)
        return layers.MaxPooling2D(side, stride, padding="same" if same else "valid", name=name)(x)

    def _function(self, node: fx.Node, arguments: list[Any]) -> Any:
        """A call of a function or a method: an operation of a block, attention or head between its layers."""
        ops, layers = self.keras.ops, self.keras.layers
        name = node.target if isinstance(node.target, str) else node.target.__name__
        if node.target in (operator.add, operator.iadd):
            return layers.Add()(arguments)
        if node.target is operator.mul and all(isinstance(each, fx.Node) for each in node.args):
            return layers.Multiply()(arguments)
        if node.target is operator.mul:  # by a constant
            return arguments[0] * arguments[1]
        if node.target is operator.sub:
            return arguments[0] - arguments[1]
        if name == "flatten":
            return layers.Flatten()(arguments[0])
        if name == "cat":
            joined = [self.values[str(each)] for each in node.args[0]]  # type: ignore[union-attr]
            return layers.Concatenate(axis=-1)(joined)
        if name in ("amax", "mean"):
            return (ops.max if name == "amax" else ops.mean)(arguments[0], axis=-1, keepdims=True)
        raise UserError(f"There is no Keras layer for the operation '{name}' in this network.")
