"""Keras models of our networks, for Keras 3 on any of its backends: `pip install 'resnets[keras]'`.

`ResNet50` … `ResNet152V2` are those of `keras.applications`, and also accept checkpoints of resnets as weights.
`resnets.keras.resnet`, `resnet50`, `resnet_v2` and `imagenet_utils` are named like the modules of `keras.applications`.
`from_spec` builds a Keras model of any of our networks, and `load` one of any checkpoint.
"""

from resnets.keras import imagenet_utils, resnet, resnet50, resnet_v2
from resnets.keras.applications import ResNet50, ResNet50V2, ResNet101, ResNet101V2, ResNet152, ResNet152V2
from resnets.keras.to_keras import from_spec, load

__all__ = [
    "ResNet50",
    "ResNet50V2",
    "ResNet101",
    "ResNet101V2",
    "ResNet152",
    "ResNet152V2",
    "from_spec",
    "imagenet_utils",
    "load",
    "resnet",
    "resnet50",
    "resnet_v2",
]
