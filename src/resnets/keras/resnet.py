"""ResNet V1 as in `keras.applications.resnet`: biased convolutions, the stride on the first 1x1, epsilon 1.001e-5."""

from __future__ import annotations

from typing import Any

from resnets.keras import applications
from resnets.keras.applications import decode_predictions
from resnets.weights.formats import keras_model

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]

ResNet50 = applications.function("ResNet50", __name__)
ResNet101 = applications.function("ResNet101", __name__)
ResNet152 = applications.function("ResNet152", __name__)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images of 0 to 255 in RGB as BGR less ImageNet's mean, without scaling: `keras.applications.resnet.preprocess_input`."""
    return keras_model.import_keras().applications.resnet.preprocess_input(x, data_format=data_format)
