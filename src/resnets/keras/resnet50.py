"""ResNet-50 V1, by the name of `keras.applications.resnet50`."""

from resnets.keras.resnet import ResNet50, decode_predictions, preprocess_input

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]
