"""ResNet V2 as in `keras.applications.resnet_v2`: activation first, the stride in the last block of a stack."""

from resnets.keras.applications import ResNet50V2, ResNet101V2, ResNet152V2, decode_predictions, keras

__all__ = ["ResNet50V2", "ResNet101V2", "ResNet152V2", "decode_predictions", "preprocess_input"]

preprocess_input = keras.applications.resnet_v2.preprocess_input
