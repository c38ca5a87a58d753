"""ResNet V1 as keras.applications.resnet has it: biased convolutions, the stride on the first 1x1, epsilon 1.001e-5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnets.keras import interface
from resnets.keras.interface import decode_predictions
from resnets.weights import keras_network

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]

EPSILON = 1.001e-5


def ResNet50(  # noqa: N802 - the name that Keras gave it
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet50",
) -> Any:
    """A Keras model of ResNet-50; arguments and errors are those of `keras.applications.ResNet50`.

    Args:
        include_top: whether it ends in a dense layer.
        weights: None, "imagenet", or a file: of Keras, or a checkpoint of ours of `keras_resnet50`.
        input_tensor: what the first layer reads, such as a `keras.Input`.
        input_shape: height, width and channels; every side at least 32.
        pooling: without the top: None for maps, "avg" or "max" for a vector.
        classes: outputs of the top.
        classifier_activation: of the top; None for logits.

    Raises:
        ValueError: arguments that do not go together.
    """
    return _network("keras_resnet50", (3, 4, 6, 3), **locals())


def ResNet101(  # noqa: N802
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet101",
) -> Any:
    """A Keras model of ResNet-101; see `ResNet50`."""
    return _network("keras_resnet101", (3, 4, 23, 3), **locals())


def ResNet152(  # noqa: N802
    include_top: bool = True,
    weights: Any = "imagenet",
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet152",
) -> Any:
    """A Keras model of ResNet-152; see `ResNet50`."""
    return _network("keras_resnet152", (3, 8, 36, 3), **locals())


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Pictures of 0 to 255 in RGB as BGR less ImageNet's mean, without scaling; see `keras.applications.resnet`."""
    utils = keras_network.library().applications.imagenet_utils
    return utils.preprocess_input(x, data_format=data_format, mode="caffe")


def _network(
    zoo_name: str, depths: Sequence[int], *, include_top: bool, weights: Any, input_tensor: Any, input_shape: Any,
    pooling: str | None, classes: int, classifier_activation: Any, name: str,
) -> Any:  # fmt: skip
    keras = keras_network.library()
    interface.check(weights, include_top, classes, classifier_activation)
    chosen = interface.shape(keras, input_shape, weights, include_top)
    x, inputs = interface.beginning(keras, input_tensor, chosen)
    x = _stem(keras, x)
    for stage, blocks in enumerate(depths, start=2):
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _block(keras, x, 32 * 2 ** (stage - 1), stride, project=block == 1, name=f"conv{stage}_block{block}")
    x = interface.ending(keras, x, include_top, pooling, classes, classifier_activation)
    model = keras.Model(inputs, x, name=name)
    interface.load(model, zoo_name, weights, include_top)
    return model


def _axis(keras: Any) -> int:
    """Of the channels."""
    return 3 if keras.config.image_data_format() == "channels_last" else 1


def _stem(keras: Any, x: Any) -> Any:
    layers = keras.layers
    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = layers.BatchNormalization(axis=_axis(keras), epsilon=EPSILON, name="conv1_bn")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)


def _block(keras: Any, x: Any, width: int, stride: int, *, project: bool, name: str) -> Any:
    """relu(branch(x) + shortcut(x)) with a bottleneck of 1x1 at the stride, 3x3, and 1x1 to four times the width."""
    layers, axis = keras.layers, _axis(keras)
    shortcut = x
    if project:
        shortcut = layers.Conv2D(4 * width, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = layers.BatchNormalization(axis=axis, epsilon=EPSILON, name=f"{name}_0_bn")(shortcut)
    for number, (filters, side) in enumerate(((width, 1), (width, 3), (4 * width, 1)), start=1):
        step = stride if number == 1 else 1
        x = layers.Conv2D(
            filters, side, strides=step, padding="same" if side == 3 else "valid", name=f"{name}_{number}_conv"
        )(x)
        x = layers.BatchNormalization(axis=axis, epsilon=EPSILON, name=f"{name}_{number}_bn")(x)
        if number < 3:
            x = layers.Activation("relu", name=f"{name}_{number}_relu")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)
