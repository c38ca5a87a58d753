"""`preprocess_input` and `decode_predictions`, named like those of `keras.applications.imagenet_utils`."""

from __future__ import annotations

from typing import Any

from resnets.keras.applications import decode_predictions
from resnets.weights.formats import keras_model

__all__ = ["decode_predictions", "preprocess_input"]


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Preprocess RGB images with values from 0 to 255; `mode` is "caffe" (V1), "tf" (V2) or "torch", as in Keras."""
    return keras_model.import_keras().applications.imagenet_utils.preprocess_input(
        x, data_format=data_format, mode=mode
    )
