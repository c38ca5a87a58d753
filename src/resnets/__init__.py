"""The ResNet toolkit on PyTorch. Importing this package does not import torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from resnets.errors import ImageError, JobError, UserError

if TYPE_CHECKING:
    from resnets.api.bench import BenchResult, bench
    from resnets.api.data import check, split
    from resnets.api.embeddings import embed, evaluate_knn, search
    from resnets.api.evaluate import compare, evaluate
    from resnets.api.export import export_model
    from resnets.api.predict_to_parquet import predict_to_parquet
    from resnets.api.quantize import quantize
    from resnets.api.serve import asgi_app
    from resnets.api.shard import shard
    from resnets.api.study import study
    from resnets.api.summary import NetworkSummary, summary
    from resnets.api.weights import ConversionResult, convert, verify
    from resnets.data.check.check import CheckReport
    from resnets.data.image.preprocess import Preprocess
    from resnets.export.certificate.certificate import Certificate, RefusedExportError
    from resnets.export.quantization.quantize import QuantizeResult
    from resnets.models.model_names import list_models
    from resnets.models.resnet import ResNet
    from resnets.models.spec import ResNetSpec
    from resnets.models.zoo import get_spec
    from resnets.serve.settings import ServerSettings
    from resnets.studies.study_result import StudyResult
    from resnets.tasks.embeddings.embed_files import EmbedResult
    from resnets.tasks.embeddings.embedding_index import Index
    from resnets.tasks.evaluation.results import Evaluation
    from resnets.tasks.load_model import load
    from resnets.tasks.predict_parts.predict_parts import PartsResult
    from resnets.tasks.trained_model import TrainedModel
    from resnets.training.lr_find import lr_find
    from resnets.training.lr_range_test import RangeTest
    from resnets.training.train import TrainResult, train
    from resnets.weights.create_model import create_model

__version__ = "0.1.0"

__all__ = [
    "BenchResult",
    "Certificate",
    "CheckReport",
    "ConversionResult",
    "EmbedResult",
    "Evaluation",
    "ImageError",
    "Index",
    "JobError",
    "NetworkSummary",
    "PartsResult",
    "Preprocess",
    "QuantizeResult",
    "RangeTest",
    "RefusedExportError",
    "ResNet",
    "ResNetSpec",
    "ServerSettings",
    "StudyResult",
    "TrainResult",
    "TrainedModel",
    "UserError",
    "__version__",
    "asgi_app",
    "bench",
    "check",
    "compare",
    "convert",
    "create_model",
    "embed",
    "evaluate",
    "evaluate_knn",
    "export_model",
    "get_spec",
    "list_models",
    "load",
    "lr_find",
    "predict_to_parquet",
    "quantize",
    "search",
    "shard",
    "split",
    "study",
    "summary",
    "train",
    "verify",
]

_MODULES = {  # public name -> the module that defines it, imported when the name is first used
    "BenchResult": "resnets.api.bench",
    "Certificate": "resnets.export.certificate.certificate",
    "CheckReport": "resnets.data.check.check",
    "ConversionResult": "resnets.api.weights",
    "EmbedResult": "resnets.tasks.embeddings.embed_files",
    "Evaluation": "resnets.tasks.evaluation.results",
    "Index": "resnets.tasks.embeddings.embedding_index",
    "NetworkSummary": "resnets.api.summary",
    "PartsResult": "resnets.tasks.predict_parts.predict_parts",
    "Preprocess": "resnets.data.image.preprocess",
    "QuantizeResult": "resnets.export.quantization.quantize",
    "RangeTest": "resnets.training.lr_range_test",
    "RefusedExportError": "resnets.export.certificate.certificate",
    "ResNet": "resnets.models.resnet",
    "ResNetSpec": "resnets.models.spec",
    "ServerSettings": "resnets.serve.settings",
    "StudyResult": "resnets.studies.study_result",
    "TrainResult": "resnets.training.train",
    "TrainedModel": "resnets.tasks.trained_model",
    "asgi_app": "resnets.api.serve",
    "bench": "resnets.api.bench",
    "check": "resnets.api.data",
    "compare": "resnets.api.evaluate",
    "convert": "resnets.api.weights",
    "create_model": "resnets.weights.create_model",
    "embed": "resnets.api.embeddings",
    "evaluate": "resnets.api.evaluate",
    "evaluate_knn": "resnets.api.embeddings",
    "export_model": "resnets.api.export",
    "get_spec": "resnets.models.zoo",
    "list_models": "resnets.models.model_names",
    "load": "resnets.tasks.load_model",
    "lr_find": "resnets.training.lr_find",
    "predict_to_parquet": "resnets.api.predict_to_parquet",
    "quantize": "resnets.api.quantize",
    "search": "resnets.api.embeddings",
    "shard": "resnets.api.shard",
    "split": "resnets.api.data",
    "study": "resnets.api.study",
    "summary": "resnets.api.summary",
    "train": "resnets.training.train",
    "verify": "resnets.api.weights",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'resnets' has no attribute '{name}'")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
