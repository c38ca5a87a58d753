"""The ResNet functions of `keras.applications`, whose `weights` may also be a checkpoint of resnets.

Layers, arguments and errors are Keras' own. `weights` also takes a checkpoint, a run directory or a name of
`resnets weights list`. "imagenet" is downloaded as all published weights are: with its size logged, its hash checked, cached, and
refused with RESNETS_OFFLINE=1.
"""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnets.weights import download_published, find_weights
from resnets.weights.formats import fold_into_tensors, keras_model
from resnets.weights.formats import keras as keras_format
from resnets.weights.hub import bundled, catalog, imagenet_classes

keras = keras_model.import_keras()  # on a backend that is installed

from keras.src.applications import imagenet_utils  # noqa: E402 - has no public name; Keras' own functions call it

NUM_CLASSES = len(imagenet_classes.NAMES)


def function(name: str) -> Callable[..., Any]:
    """The function `name` of `keras.applications`, with its signature."""
    make = getattr(keras.applications, name)
    signature = inspect.signature(make)

    @functools.wraps(make)
    def function(*args: Any, **kwargs: Any) -> Any:
        received = signature.bind(*args, **kwargs)
        received.apply_defaults()
        return _model(name, make, dict(received.arguments))

    function.__module__ = f"resnets.keras.resnet{'_v2' if name.endswith('V2') else ''}"
    function.__doc__ = f"""A Keras model of {name}; arguments, layers and errors are those of `keras.applications.{name}`.

    `weights` may also be a checkpoint of resnets, a run directory or a name of `resnets weights list`. A checkpoint's
    temperature is folded into the last layer, so that the softmax gives its calibrated probabilities.

    Raises:
        ValueError: arguments are incompatible, or the weights are of another network.
        UserError: the checkpoint cannot be read, or "imagenet" is not on this machine and RESNETS_OFFLINE=1 is set.
    """
    return function


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable ImageNet classes of each image: (WordNet id, name, probability). Nothing is downloaded.

    Args:
        preds: (N, 1000).

    Returns:
        For each image, (WordNet id, name, probability) of the `top` most probable classes, the most probable first.

    Raises:
        ValueError: another shape.
    """
    values = keras.ops.convert_to_numpy(preds)
    if values.ndim != 2 or values.shape[1] != NUM_CLASSES:
        raise ValueError(
            f"decode_predictions takes an array of shape (N, {NUM_CLASSES}); received {tuple(values.shape)}"
        )
    best = values.argsort(axis=1)[:, ::-1][:, :top]
    return [
        [(imagenet_classes.SYNSETS[k], imagenet_classes.NAMES[k].replace(" ", "_"), float(row[k])) for k in order]
        for row, order in zip(values, best, strict=True)
    ]


def _model(name: str, make: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    weights = arguments.pop("weights")
    network = next(network for network, application in keras_format.APPLICATIONS.items() if application == name)
    if isinstance(weights, str) and weights == "imagenet":
        _check_imagenet(arguments)
        weights = download_published.checkpoint_file(f"{network}.imagenet")
    elif not _is_checkpoint(weights):
        return make(weights=weights, **arguments)
    checkpoint = find_weights.read(weights)
    if keras_format.application(checkpoint.spec) != name:
        raise ValueError(f"'{weights}' holds weights of {checkpoint.spec.name}, not of {network}")
    if arguments["include_top"]:
        imagenet_utils.validate_activation(arguments["classifier_activation"], "imagenet")
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


def _check_imagenet(arguments: dict[str, Any]) -> None:
    """Raise the errors of Keras for weights="imagenet" before anything is downloaded."""
    if arguments["include_top"] and arguments["classes"] != NUM_CLASSES:
        raise ValueError(
            f"The ImageNet weights with their top have {NUM_CLASSES} classes; received classes={arguments['classes']}"
        )
    imagenet_utils.obtain_input_shape(
        arguments["input_shape"], default_size=224, min_size=32, data_format=keras.config.image_data_format(),
        require_flatten=arguments["include_top"], weights="imagenet",
    )  # fmt: skip
    if arguments["include_top"]:
        imagenet_utils.validate_activation(arguments["classifier_activation"], "imagenet")


ResNet50, ResNet101, ResNet152 = map(function, ("ResNet50", "ResNet101", "ResNet152"))
ResNet50V2, ResNet101V2, ResNet152V2 = map(function, ("ResNet50V2", "ResNet101V2", "ResNet152V2"))
