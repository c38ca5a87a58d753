"""ResNet V2 as in `keras.applications.resnet_v2`: activation first, the stride in the last block of a stack."""

from __future__ import annotations

from typing import Any

from resnets.keras import applications
from resnets.keras.applications import decode_predictions
from resnets.weights.formats import keras_model

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]

ResNet50V2 = applications.function("ResNet50V2", __name__)
ResNet101V2 = applications.function("ResNet101V2", __name__)
ResNet152V2 = applications.function("ResNet152V2", __name__)


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Images of 0 to 255 in RGB as values from -1 to 1: `keras.applications.resnet_v2.preprocess_input`."""
    return keras_model.import_keras().applications.resnet_v2.preprocess_input(x, data_format=data_format)
