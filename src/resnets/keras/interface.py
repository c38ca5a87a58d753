"""What the six functions share: the arguments of Keras Applications, their rules, and where weights come from.

The rules are those of keras/src/applications/resnet.py and imagenet_utils.py of Keras 3.15; a test compares them call by call.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnets.models import zoo
from resnets.weights import checkpoint as checkpoints
from resnets.weights import imagenet, keras_network, published
from resnets.weights import keras as keras_format

SIDE, LEAST_SIDE, CLASSES = 224, 32, len(imagenet.NAMES)


def check(weights: Any, include_top: bool, classes: int, classifier_activation: Any) -> None:
    """Raise ValueError for arguments that contradict each other."""
    if weights not in (None, "imagenet") and not os.path.exists(weights):
        raise ValueError(f"weights is None, 'imagenet' or the path of a file; received weights={weights!r}")
    if weights == "imagenet" and include_top and classes != CLASSES:
        raise ValueError(f"The ImageNet weights with their top have {CLASSES} classes; received classes={classes}")
    if include_top and weights is not None and classifier_activation not in (None, "softmax"):
        raise ValueError(
            "classifier_activation is 'softmax' or None where weights are loaded with the top; received "
            f"classifier_activation={classifier_activation!r}"
        )


def shape(keras: Any, given: Sequence[int | None] | None, weights: Any, include_top: bool) -> tuple[int | None, ...]:
    """The shape of a picture, in the order that Keras is set to.

    Raises:
        ValueError: three channels or the usual side are needed and not given, or a side is below 32.
    """
    last = keras.config.image_data_format() == "channels_last"
    usual: tuple[int | None, ...] = (SIDE, SIDE, 3) if last else (3, SIDE, SIDE)
    channels = -1 if last else 0
    if weights != "imagenet" and given and len(given) == 3 and include_top:
        if given[channels] not in (1, 3):
            warnings.warn(f"A picture usually has 1 or 3 channels; received input_shape={tuple(given)}", stacklevel=3)
        usual = (SIDE, SIDE, given[channels]) if last else (given[channels], SIDE, SIDE)
    if weights == "imagenet" and include_top:
        if given is not None and tuple(given) != usual:
            raise ValueError(f"With its top and ImageNet weights, input_shape is {usual}; received {tuple(given)}")
        return usual
    if not given:
        return usual if include_top else ((None, None, 3) if last else (3, None, None))
    if len(given) != 3:
        raise ValueError(f"input_shape has three numbers; received {tuple(given)}")
    if given[channels] != 3 and weights == "imagenet":
        raise ValueError(f"The ImageNet weights take 3 channels; received input_shape={tuple(given)}")
    sides = given[:2] if last else given[1:]
    if any(side is not None and side < LEAST_SIDE for side in sides):
        raise ValueError(f"The least side is {LEAST_SIDE}; received input_shape={tuple(given)}")
    if include_top and None in given:
        raise ValueError(f"With its top, a network needs a fixed input_shape; received {tuple(given)}")
    return tuple(given)


def beginning(keras: Any, input_tensor: Any, input_shape: tuple[int | None, ...]) -> tuple[Any, Any]:
    """The tensor that the first layer reads, and the inputs of the model."""
    if input_tensor is None:
        inputs = keras.Input(shape=input_shape)
        return inputs, inputs
    if keras.utils.is_keras_tensor(input_tensor):
        return input_tensor, keras.utils.get_source_inputs(input_tensor)
    inputs = keras.Input(tensor=input_tensor, shape=input_shape)
    return inputs, inputs


def ending(keras: Any, x: Any, include_top: bool, pooling: str | None, classes: int, activation: Any) -> Any:
    """The head: global pooling and a dense layer, or pooling alone, or nothing."""
    if include_top:
        pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        return keras.layers.Dense(classes, activation=activation, name="predictions")(pooled)
    if pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def load(model: Any, name: str, weights: Any, include_top: bool) -> None:
    """Give the model the published weights of the zoo's network `name`, or those of a file: ours, or of Keras."""
    if weights is None:
        return
    if weights != "imagenet" and Path(weights).suffix != ".safetensors":
        model.load_weights(weights)
        return
    path = published.locate(f"{name}.imagenet") if weights == "imagenet" else weights
    checkpoint = checkpoints.read(path)
    if keras_format.application(checkpoint.spec) != keras_format.APPLICATIONS[name]:
        raise ValueError(f"'{path}' holds weights of {checkpoint.spec.name}, not of {zoo.find(name).spec.name}")
    keras_format.fill(model, checkpoint.spec, checkpoint.tensors, top=include_top)


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable ImageNet classes of each picture: (WordNet id, name, probability). Nothing is downloaded.

    Args:
        preds: (N, 1000).

    Raises:
        ValueError: another shape.
    """
    values = keras_network.library().ops.convert_to_numpy(preds)
    if values.ndim != 2 or values.shape[1] != CLASSES:
        raise ValueError(f"decode_predictions takes an array of shape (N, {CLASSES}); received {tuple(values.shape)}")
    best = values.argsort(axis=1)[:, ::-1][:, :top]
    return [
        [(imagenet.SYNSETS[k], imagenet.NAMES[k].replace(" ", "_"), float(row[k])) for k in order]
        for row, order in zip(values, best, strict=True)
    ]
