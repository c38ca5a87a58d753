"""The ResNet functions of `keras.applications`, whose `weights` may also be a checkpoint of resnets.

Layers, arguments and errors are Keras' own. `weights` also takes a checkpoint, a run directory or a name of
`resnets weights list`. "imagenet" is downloaded as all published weights are: with its size logged, its hash checked, cached, and
refused with RESNETS_OFFLINE=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resnets.models import zoo
from resnets.weights import download_published, find_weights
from resnets.weights.formats import fold_into_tensors, keras_model
from resnets.weights.formats import keras as keras_format
from resnets.weights.hub import bundled, catalog, imagenet_classes

NUM_CLASSES = len(imagenet_classes.NAMES)


def function(name: str, module: str) -> Callable[..., Any]:
    """The function `name` of `keras.applications`, for the module of that name."""
    network = next(network for network, application in keras_format.APPLICATIONS.items() if application == name)

    def make(
        include_top: bool = True,
        weights: Any = "imagenet",
        input_tensor: Any = None,
        input_shape: Sequence[int | None] | None = None,
        pooling: str | None = None,
        classes: int = 1000,
        classifier_activation: Any = "softmax",
        name: str = name.lower(),
    ) -> Any:
        arguments = {
            "include_top": include_top, "input_tensor": input_tensor, "input_shape": input_shape, "pooling": pooling,
            "classes": classes, "classifier_activation": classifier_activation, "name": name,
        }  # fmt: skip
        return _model(network, weights, arguments)

    make.__name__ = make.__qualname__ = name
    make.__module__ = module
    make.__doc__ = f"""A Keras model of {name}; arguments, layers and errors are those of `keras.applications.{name}`.

    Args:
        include_top: whether it ends in a dense layer.
        weights: None, "imagenet", a file of Keras, or weights of `{network}`: a checkpoint, a run directory or a name.
        input_tensor: the input of the first layer, such as a `keras.Input`.
        input_shape: height, width and channels; height and width at least 32.
        pooling: without the top: None for feature maps, "avg" or "max" for pooled features.
        classes: number of outputs of the top.
        classifier_activation: of the top; None for logits.
        name: of the model.

    A checkpoint's temperature is folded into the last layer, so that the softmax gives its calibrated probabilities.

    Raises:
        ValueError: arguments are incompatible, or the weights are of another network.
        UserError: the checkpoint cannot be read, or "imagenet" is not on this machine and RESNETS_OFFLINE=1 is set.
    """
    return make


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable ImageNet classes of each image: (WordNet id, name, probability). Nothing is downloaded.

    Args:
        preds: (N, 1000).

    Returns:
        For each image, (WordNet id, name, probability) of the `top` most probable classes, the most probable first.

    Raises:
        ValueError: another shape.
    """
    values = keras_model.import_keras().ops.convert_to_numpy(preds)
    if values.ndim != 2 or values.shape[1] != NUM_CLASSES:
        raise ValueError(
            f"decode_predictions takes an array of shape (N, {NUM_CLASSES}); received {tuple(values.shape)}"
        )
    best = values.argsort(axis=1)[:, ::-1][:, :top]
    return [
        [(imagenet_classes.SYNSETS[k], imagenet_classes.NAMES[k].replace(" ", "_"), float(row[k])) for k in order]
        for row, order in zip(values, best, strict=True)
    ]


def _model(network: str, weights: Any, arguments: dict[str, Any]) -> Any:
    keras = keras_model.import_keras()
    make = getattr(keras.applications, keras_format.APPLICATIONS[network])
    if isinstance(weights, str) and weights == "imagenet":
        _check_imagenet(keras, arguments)
        weights = download_published.checkpoint_file(f"{network}.imagenet")
    elif not _is_checkpoint(weights):
        return make(weights=weights, **arguments)
    checkpoint = find_weights.read(weights)
    if keras_format.application(checkpoint.spec) != keras_format.APPLICATIONS[network]:
        raise ValueError(f"'{weights}' holds weights of {checkpoint.spec.name}, not of {zoo.find(network).spec.name}")
    if arguments["include_top"]:
        _check_activation(arguments["classifier_activation"])
        checkpoint = fold_into_tensors.with_temperature(checkpoint)
    model = make(weights=None, **arguments)
    keras_format.fill(model, checkpoint.spec, checkpoint.tensors, top=arguments["include_top"])
    return model


def _is_checkpoint(weights: Any) -> bool:
    """Whether `find_weights.read` finds these weights, and they are not a file of Keras."""
    if not isinstance(weights, str | os.PathLike):
        return False
    path = Path(weights)
    if os.path.lexists(path):
        return path.is_dir() or path.suffix == ".safetensors"
    return bundled.path_of(str(weights)) is not None or catalog.known(str(weights))


def _check_imagenet(keras: Any, arguments: dict[str, Any]) -> None:
    """Raise the errors of Keras for weights="imagenet" before anything is downloaded."""
    from keras.src.applications import imagenet_utils  # has no public name; as Keras' own functions call it

    if arguments["include_top"] and arguments["classes"] != NUM_CLASSES:
        raise ValueError(
            f"The ImageNet weights with their top have {NUM_CLASSES} classes; received classes={arguments['classes']}"
        )
    imagenet_utils.obtain_input_shape(
        arguments["input_shape"], default_size=224, min_size=32, data_format=keras.config.image_data_format(),
        require_flatten=arguments["include_top"], weights="imagenet",
    )  # fmt: skip
    if arguments["include_top"]:
        _check_activation(arguments["classifier_activation"])


def _check_activation(activation: Any) -> None:
    from keras.src.applications import imagenet_utils

    imagenet_utils.validate_activation(activation, "imagenet")
