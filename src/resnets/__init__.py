"""The ResNet toolkit on PyTorch. Importing this package does not import torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from resnets.errors import ImageError, JobError, UserError

if TYPE_CHECKING:
    from resnets.data.preprocess import Preprocess
    from resnets.models.resnet import ResNet
    from resnets.models.spec import ResNetSpec
    from resnets.models.zoo import names, spec
    from resnets.recipes.job import TrainResult, train
    from resnets.tasks.classify import Classifier, Prediction, load
    from resnets.weights.published import create

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
    "create",
    "load",
    "names",
    "spec",
    "train",
]

_HOME = {  # public name -> the module that it is defined in, imported when the name is first used
    "Classifier": "resnets.tasks.classify",
    "Prediction": "resnets.tasks.classify",
    "Preprocess": "resnets.data.preprocess",
    "ResNet": "resnets.models.resnet",
    "ResNetSpec": "resnets.models.spec",
    "TrainResult": "resnets.recipes.job",
    "create": "resnets.weights.published",
    "load": "resnets.tasks.classify",
    "names": "resnets.models.zoo",
    "spec": "resnets.models.zoo",
    "train": "resnets.recipes.job",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'resnets' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
