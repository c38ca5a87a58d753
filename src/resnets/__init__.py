"""The ResNet toolkit on PyTorch. Importing this package does not import torch."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from resnets.errors import JobError, UserError

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
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'resnets' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `resnets.train` the function, although a room of the package bears the same name.

    Python sets the attribute `train` to the room as soon as anything in it is imported; that assignment is ignored
    here. The room is reached with `from resnets.train import …`.
    """

    @property
    def train(self) -> object:
        return importlib.import_module("resnets.recipes.job").train

    @train.setter
    def train(self, room: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
