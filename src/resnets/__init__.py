"""The ResNet toolkit on PyTorch. Importing this package does not import torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from resnets.errors import ImageError, JobError, UserError

if TYPE_CHECKING:
    from resnets.data.image.preprocess import Preprocess
    from resnets.models.resnet import ResNet
    from resnets.models.spec import ResNetSpec
    from resnets.models.zoo import get_spec, list_models
    from resnets.tasks.classification.load import Classifier, Prediction, load
    from resnets.training.train import TrainResult, train
    from resnets.weights.pretrained import create_model

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "ImageError",
    "JobError",
    "Prediction",
    "Preprocess",
    "ResNet",
    "ResNetSpec",
    "TrainResult",
    "UserError",
    "__version__",
    "create_model",
    "get_spec",
    "list_models",
    "load",
    "train",
]

_HOME = {  # public name -> the module that it is defined in, imported when the name is first used
    "Classifier": "resnets.tasks.classification.load",
    "Prediction": "resnets.tasks.classification.load",
    "Preprocess": "resnets.data.image.preprocess",
    "ResNet": "resnets.models.resnet",
    "ResNetSpec": "resnets.models.spec",
    "TrainResult": "resnets.training.train",
    "create_model": "resnets.weights.pretrained",
    "get_spec": "resnets.models.zoo",
    "list_models": "resnets.models.zoo",
    "load": "resnets.tasks.classification.load",
    "train": "resnets.training.train",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'resnets' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
