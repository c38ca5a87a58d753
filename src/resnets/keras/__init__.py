"""The door for people who work with Keras 3, on any of its backends: `pip install 'resnets[keras]'`.

`ResNet50` … `ResNet152V2` are called as those of `keras.applications` and return genuine Keras models with Keras' own names
of the layers. `resnets.keras.resnet` and `resnets.keras.resnet_v2` have the `preprocess_input` and `decode_predictions` that
belong to each. `from_spec` makes a Keras model of any network of ours, and `load` one of any checkpoint.
"""

from __future__ import annotations

from resnets.keras import resnet, resnet_v2
from resnets.keras.models import from_spec, load
from resnets.keras.resnet import ResNet50, ResNet101, ResNet152
from resnets.keras.resnet_v2 import ResNet50V2, ResNet101V2, ResNet152V2

__all__ = [
    "ResNet50",
    "ResNet50V2",
    "ResNet101",
    "ResNet101V2",
    "ResNet152",
    "ResNet152V2",
    "from_spec",
    "load",
    "resnet",
    "resnet_v2",
]
