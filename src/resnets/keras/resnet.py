"""ResNet V1 as in `keras.applications.resnet`: biased convolutions, the stride on the first 1x1, epsilon 1.001e-5."""

from resnets.keras.applications import ResNet50, ResNet101, ResNet152, decode_predictions, keras

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]

preprocess_input = keras.applications.resnet.preprocess_input
