"""Convert a network to a Keras model, with or without its weights."""

from pathlib import Path
from typing import Any

from resnets.errors import UserError
from resnets.models.spec import ResNetSpec
from resnets.weights import find_weights
from resnets.weights.formats import fold_into_tensors, keras_model
from resnets.weights.formats import keras as keras_format


def from_spec(
    spec: ResNetSpec, *, include_top: bool = True, input_shape: tuple[int | None, int | None, int] | None = None
) -> Any:
    """A freshly initialized Keras model of a specification: `from_spec(resnets.get_spec("se_resnet50", num_classes=5))`.

    It maps float images (N, height, width, channels) to logits (N, num_classes); without its head, to the feature maps of the
    last stage (N, height / stride, width / stride, C).

    Raises:
        UserError: Keras is not installed, or the network has stochastic depth or dropout of shortcuts, for which Keras has no
            layer.
    """
    if not isinstance(spec, ResNetSpec):
        raise UserError(f"from_spec takes the result of resnets.get_spec(...); received {type(spec).__name__}.")
    return keras_model.build(spec, top=include_top, input_shape=input_shape)


def load(path: str | Path, *, include_top: bool = True) -> Any:
    """The Keras model of a checkpoint, with its weights; inputs and outputs as of `from_spec`.

    The checkpoint's temperature is folded into the last layer: the softmax of the logits gives its calibrated probabilities. Its
    preprocessing is `resnets.load(path).preprocess`.

    Raises:
        UserError: as `from_spec`, or the checkpoint cannot be read.
    """
    checkpoint = find_weights.read(path)
    if include_top:
        checkpoint = fold_into_tensors.with_temperature(checkpoint)
    model = from_spec(checkpoint.spec, include_top=include_top)
    keras_format.fill(model, checkpoint.spec, checkpoint.tensors, top=include_top, own_names=True)
    return model
