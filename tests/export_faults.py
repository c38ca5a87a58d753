"""Seventeen faults that exports have had, made on purpose in the graph that is exported or in its files."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tests import tiny_checkpoint
from torch import Tensor, nn
from torch.nn import functional

from resnets.data.image.preprocess import IMAGENET_MEAN, Preprocess
from resnets.export import graph
from resnets.export.graph import ExportedGraph
from resnets.export.traced_graph import TracedGraph
from resnets.tasks import load_model
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints

PREPROCESS = Preprocess(
    size=tiny_checkpoint.SIZE, resize_to=67, mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)
)


@dataclass(frozen=True)
class Made:
    """A checkpoint, its model, and another with the same network."""

    file: Path
    model: TrainedModel
    other: nn.Module


def make(folder: Path, name: str = "tiny") -> Made:
    """A network whose preprocessing is not ImageNet's, and one with other weights."""
    file = folder / "model.safetensors"
    tiny_checkpoint.write(file, PREPROCESS, name=name)
    model = load_model.load(file, "cpu", precision="fp32")
    other = copy.deepcopy(model.model)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=random))
    return Made(file, model, other)


class _Around(nn.Module):
    """A graph with functions before and after it."""

    def __init__(
        self, inner: ExportedGraph, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.inner, self.first, self.last, self.output_names = inner, before, after, inner.output_names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        probabilities, logits, features = self.inner(self.first(images))
        return self.last(probabilities), self.last(logits), features


class _BatchStatistics(nn.Module):
    """A batch norm that was left in train mode."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        scaled = (x - mean) / torch.sqrt(variance + self.eps)
        return scaled * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def _same(x: Tensor) -> Tensor:
    return x


def _hwc_as_chw(images: Tensor) -> Tensor:
    height, width = tiny_checkpoint.SIZE
    return images.reshape(-1, 3, height, width).permute(0, 2, 3, 1)


def _resized_twice(images: Tensor) -> Tensor:
    height, width = tiny_checkpoint.SIZE
    floats = images.permute(0, 3, 1, 2).float()
    smaller = functional.interpolate(floats, size=(height - 7, width - 9), mode="bilinear")
    again = functional.interpolate(smaller, size=(height, width), mode="bilinear")
    return again.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _with_eps(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    return model


def _in_train_mode(model: nn.Module) -> nn.Module:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _BatchStatistics(child))
    return model


def _with_bias(model: Any) -> nn.Module:
    layer = next(each for each in model.head.modules() if isinstance(each, nn.Linear))
    layer.bias.data[0] += 0.05
    return layer and model


def _with_dead_filter(model: Any) -> nn.Module:
    next(each for each in model.modules() if isinstance(each, nn.Conv2d)).weight.data[0] = 0
    return model


INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "BGR": lambda images: images.flip(-1),
    "HWC as CHW": _hwc_as_chw,
    "H and W swapped": lambda images: images.transpose(1, 2),
    "shifted by a pixel": lambda images: images.roll(1, 2),
    "resized twice": _resized_twice,
}
PREPROCESSES = {
    "no mean": replace(PREPROCESS, mean=(0.0, 0.0, 0.0)),
    "the mean of ImageNet": replace(PREPROCESS, mean=IMAGENET_MEAN),
    "/ 256": replace(PREPROCESS, scale=256.0),
}
MODELS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "another eps of batch norms": _with_eps,
    "batch norms in train mode": _in_train_mode,
    "a moved bias": _with_bias,
    "a dead filter": _with_dead_filter,
}
FILES = ("a fixed batch", "missing weights")  # faults of the file, not of the graph
GRAPHS = (*INPUTS, *PREPROCESSES, *MODELS, "rolled classes", "a lost temperature", "stale weights")
ALL = (*GRAPHS, *FILES)


def graph_with(fault: str, made: Made) -> nn.Module:
    """The graph of `made` with this fault, "" for none."""
    model, task = copy.deepcopy(made.model.model), made.model.task
    if fault == "stale weights":
        model = made.other
    elif fault == "a lost temperature":
        task = task.with_fitted({})
    elif fault in MODELS:
        model = MODELS[fault](model)
    built = graph.build(task, model, PREPROCESSES.get(fault, PREPROCESS), "normalize")
    rolled: Callable[[Tensor], Tensor] = (lambda x: x.roll(1, 1)) if fault == "rolled classes" else _same
    return _Around(built, INPUTS.get(fault, _same), rolled) if fault in INPUTS or rolled is not _same else built


def contents_with(fault: str, made: Made, to: str) -> tuple[Mapping[str, bytes], Mapping[str, Any]]:
    """The content and the metadata of an exported file with this fault, "" for none."""
    built: Any = graph_with("" if fault in FILES else fault, made)
    traced = TracedGraph(built, "normalize", tiny_checkpoint.SIZE, checkpoints.read(made.file, task=None), made.file)
    if fault == "a fixed batch":
        example = torch.zeros(1, *tiny_checkpoint.SIZE, 3, dtype=torch.uint8)
        traced.__dict__["program"] = torch.export.export(built, (example,))
    contents = traced.contents(to)
    return (_without_weights(contents, to) if fault == "missing weights" else contents), traced.metadata(to)


def _without_weights(contents: Mapping[str, bytes], to: str) -> Mapping[str, bytes]:
    """As where one of two files was shipped; ONNX's own exporter writes large weights into a second one."""
    if to == "openvino":
        return {**contents, "model.bin": b""}
    if to == "onnx":
        import onnx

        model = onnx.load_from_string(contents[""])
        largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        size = len(largest.raw_data)
        largest.ClearField("raw_data")
        largest.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": "model.onnx.data", "offset": "0", "length": str(size)}.items():
            largest.external_data.add(key=key, value=value)
        return {"": model.SerializeToString()}
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents[""])) as archive, zipfile.ZipFile(written, "w") as kept:
        for name in archive.namelist():
            if "/weights/" not in name or name.endswith(".json"):
                kept.writestr(name, archive.read(name))
    return {"": written.getvalue()}
