"""The graph that is exported: a model in eval mode with its preprocessing before it, and its outputs by name."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.inference.fold_batchnorm import fold
from resnets.models.detection.rcnn.detector import RegionDetector
from resnets.models.resnet import PooledBackbone, ResNet
from resnets.tasks.base import Task

PROBABILITIES, LOGITS, FEATURES = "probabilities", "logits", "features"


class Normalize(nn.Module):
    """uint8 RGB (N, H, W, 3) -> the input of the network, (N, C, H, W), by `Preprocess.normalize`."""

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = replace(preprocess)
        self.preprocess.normalize(torch.zeros(3, *preprocess.size))  # makes its constants, which a trace could not keep

    def forward(self, images: Tensor) -> Tensor:
        return self.preprocess.normalize(images.permute(0, 3, 1, 2).to(torch.float32).contiguous())


class Classifier(nn.Module):
    """Normalized images -> probabilities, if the task has any, logits and pooled features."""

    def __init__(self, net: ResNet, task: Task) -> None:
        super().__init__()
        self.features, self.head, self.task = fold(PooledBackbone(net)), copy.deepcopy(net.head), task

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.features(images)
        logits = self.head(features)
        probabilities = self.task.probabilities(logits)
        return (logits, features) if probabilities is None else (probabilities, logits, features)


class Dense(nn.Module):
    """Normalized images -> what the static part of a model returns, as a tuple."""

    def __init__(self, static: nn.Module) -> None:
        super().__init__()
        self.static = fold(static)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.static(images)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


class ExportedGraph(nn.Module):
    """Images of the kind `input` (see `resnets.inference.exported.metadata.INPUTS`) -> the outputs `output_names`."""

    def __init__(self, before: nn.Module, network: nn.Module, output_names: tuple[str, ...]) -> None:
        super().__init__()
        self.before, self.network, self.output_names = before, network, output_names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.network(self.before(images))
        return found


def build(task: Task, model: nn.Module, preprocess: Preprocess, kind: str) -> ExportedGraph:
    """The graph of a model, in float32 on the CPU, of copies of its modules.

    Args:
        model: in eval mode.
        kind: "normalize" or "none".

    Raises:
        UserError: this model cannot be exported yet.
    """
    if isinstance(model, RegionDetector):
        raise UserError("Two-stage detectors (Faster R-CNN, Mask R-CNN) are not exported yet; YOLOv3 is.")
    network: nn.Module
    if isinstance(model, ResNet):
        network = Classifier(model, task)
        with torch.no_grad():
            has_probabilities = task.probabilities(torch.zeros(1, task.num_outputs)) is not None
        names = (PROBABILITIES,) * has_probabilities + (LOGITS, FEATURES)
    else:
        network, names = Dense(task.static_graph(model).static), task.output_names
    before = Normalize(preprocess) if kind == "normalize" else nn.Identity()
    # Contiguous weights: with channels_last, pooling becomes as_strided, which few runtimes have.
    graph = ExportedGraph(before, network, names).to(device="cpu", dtype=torch.float32)
    return graph.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


def input_size(preprocess: Preprocess) -> tuple[int, int] | None:
    """Height and width of the network's input; None where it depends on the image."""
    varies = preprocess.resize == "fit" or (preprocess.crop == "none" and preprocess.resize in ("shorter", "none"))
    return None if varies else preprocess.size


def example_input(size: tuple[int, int] | None, channels: int, kind: str) -> Tensor:
    """Two images, by which the graph is traced; all sizes that may vary are different."""
    height, width = size or (96, 160)
    if kind == "none":
        return torch.zeros(2, channels, height, width)
    return torch.zeros(2, height, width, 3, dtype=torch.uint8)
