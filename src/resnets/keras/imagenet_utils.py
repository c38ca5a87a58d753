"""`preprocess_input` and `decode_predictions`, named like those of `keras.applications.imagenet_utils`."""

from resnets.keras.applications import decode_predictions, keras

__all__ = ["decode_predictions", "preprocess_input"]

preprocess_input = keras.applications.imagenet_utils.preprocess_input
