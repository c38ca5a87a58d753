"""ResNet V2 as keras.applications.resnet_v2 has it: activation first, the stride in the last block of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnets.keras import interface
from resnets.keras.interface import decode_predictions
from resnets.weights import keras_network

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]

EPSILON = 1.001e-5


def ResNet50V2(  # noqa: N802 - the name that Keras gave it
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet50v2",
) -> Any:
    """A Keras model of ResNet-50 V2; arguments and errors as of `resnets.keras.ResNet50`."""
    return _network("keras_resnet50v2", (3, 4, 6, 3), **locals())


def ResNet101V2(  # noqa: N802
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet101v2",
) -> Any:
    """A Keras model of ResNet-101 V2; see `ResNet50V2`."""
    return _network("keras_resnet101v2", (3, 4, 23, 3), **locals())


def ResNet152V2(  # noqa: N802
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet152v2",
) -> Any:
    """A Keras model of ResNet-152 V2; see `ResNet50V2`."""
    return _network("keras_resnet152v2", (3, 8, 36, 3), **locals())


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pictures of 0 to 255 in RGB as values from -1 to 1; see `keras.applications.resnet_v2`."""
    utils = keras_network.library().applications.imagenet_utils
    return utils.preprocess_input(x, data_format=data_format, mode="tf")


def _network(
    zoo_name: str, depths: Sequence[int], *, include_top: bool, weights: Any, input_tensor: Any, input_shape: Any,
    pooling: str | None, classes: int, classifier_activation: Any, name: str,
) -> Any:  # fmt: skip
    keras = keras_network.library()
    interface.check(weights, include_top, classes, classifier_activation)
    chosen = interface.shape(keras, input_shape, weights, include_top)
    x, inputs = interface.beginning(keras, input_tensor, chosen)
    layers = keras.layers
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)  # no activation: the first block has its own
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, blocks in enumerate(depths, start=2):
        for block in range(1, blocks + 1):
            stride = 2 if block == blocks and stage < 5 else 1
            x = _block(keras, x, 32 * 2 ** (stage - 1), stride, project=block == 1, name=f"conv{stage}_block{block}")
    x = _active(keras, x, "post")
    x = interface.ending(keras, x, include_top, pooling, classes, classifier_activation)
    model = keras.Model(inputs, x, name=name)
    interface.load(model, zoo_name, weights, include_top)
    return model


def _active(keras: Any, x: Any, name: str) -> Any:
    axis = 3 if keras.config.image_data_format() == "channels_last" else 1
    x = keras.layers.BatchNormalization(axis=axis, epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def _block(keras: Any, x: Any, width: int, stride: int, *, project: bool, name: str) -> Any:
    """branch(active) + shortcut: projected from the activation, thinned out from the raw maps, or the raw maps."""
    layers = keras.layers
    active = _active(keras, x, f"{name}_preact")
    if project:
        shortcut = layers.Conv2D(4 * width, 1, strides=stride, name=f"{name}_0_conv")(active)
    else:
        shortcut = layers.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_1_conv")(active)
    x = _active(keras, x, f"{name}_1")
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = layers.Conv2D(width, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = _active(keras, x, f"{name}_2")
    x = layers.Conv2D(4 * width, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([shortcut, x])
