"""The graph that is exported: a model in eval mode with its preprocessing before it, and its outputs by name."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.export import preprocess_graph
from resnets.inference.exported.metadata import FEATURES, LOGITS, MAPS, PROBABILITIES
from resnets.inference.fold_batchnorm import fold
from resnets.models.detection.rcnn.detector import RegionDetector
from resnets.models.resnet import ResNet
from resnets.tasks.base import Task
from resnets.tasks.heatmaps.class_activation import has_linear_head, linear_maps

PIXELS = "pixels"  # the output of `resizer`


class Classifier(nn.Module):
    """Normalized images -> probabilities, if the task has any, logits, pooled features, and heat maps if asked for."""

    def __init__(self, net: ResNet, task: Task, heatmap: bool) -> None:
        super().__init__()
        self.backbone, self.task, self.heatmap = fold(net.backbone()), task, heatmap
        self.pool, self.head = copy.deepcopy(net.pool), copy.deepcopy(net.head)
        with torch.no_grad():
            has_probabilities = task.probabilities(torch.zeros(1, task.num_outputs)) is not None
        self.output_names = (PROBABILITIES,) * has_probabilities + (LOGITS, FEATURES) + (MAPS,) * heatmap

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        last_map = self.backbone(images)
        features = torch.flatten(self.pool(last_map), 1)
        logits = self.head(features)
        found = {LOGITS: logits, FEATURES: features, PROBABILITIES: self.task.probabilities(logits)}
        if self.heatmap:
            assert isinstance(self.head.fc, nn.Linear)
            found[MAPS] = linear_maps(self.head.fc.weight, last_map)
        return tuple(found[name] for name in self.output_names)


class StaticPart(nn.Module):
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


def build(
    task: Task, model: nn.Module, preprocess: Preprocess, input_kind: str, heatmap: bool = False
) -> ExportedGraph:
    """The graph of a model, in float32 on the CPU, of copies of its modules.

    Args:
        model: in eval mode.
        input_kind: as in `resnets.inference.exported.metadata.INPUTS`.
        heatmap: whether the class activation maps of all classes are a further output.

    Raises:
        UserError: this model cannot be exported so.
    """
    if isinstance(model, RegionDetector):
        raise UserError("Two-stage detectors (Faster R-CNN, Mask R-CNN) are not exported yet; YOLOv3 is.")
    network: nn.Module
    if isinstance(model, ResNet):
        if heatmap and not has_linear_head(model):
            raise UserError(
                "`heatmap` needs a head of global average pooling and one linear layer, whose maps are exact; this network "
                "has another one. Its heat maps are found by the gradient, from the checkpoint."
            )
        network = Classifier(model, task, heatmap)
        names = network.output_names
    else:
        if heatmap:
            raise UserError(f"`heatmap` is for classifiers; this is a model for {task.name}.")
        if input_kind == "full":
            raise UserError(
                f"`preprocess=full` is for classifiers; this is a model for {task.name}. Use `preprocess=normalize`."
            )
        network, names = StaticPart(task.static_graph(model).static), task.output_names
    before = preprocess_graph.build(preprocess, input_kind)
    # Contiguous weights: with channels_last, pooling becomes as_strided, which few runtimes have.
    graph = ExportedGraph(before, network, names).to(device="cpu", dtype=torch.float32)
    return graph.to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


class _Pixels(nn.Module):
    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        return (pixels,)


def resizer(whole: ExportedGraph) -> ExportedGraph:
    """The first part of a graph with an input of the kind "full": resized and cropped values of 0 to 255, (N, 3, h, w)."""
    assert isinstance(whole.before, nn.Sequential)
    return ExportedGraph(whole.before[0], _Pixels(), (PIXELS,)).eval()


def input_size(preprocess: Preprocess) -> tuple[int, int] | None:
    """Height and width of the network's input; None where it depends on the image."""
    varies = preprocess.resize == "fit" or (preprocess.crop == "none" and preprocess.resize in ("shorter", "none"))
    return None if varies else preprocess.size


def example_input(size: tuple[int, int] | None, channels: int, input_kind: str) -> Tensor:
    """Two images, by which the graph is traced; all sizes that may vary are different."""
    height, width = size or (96, 160)
    if input_kind == "none":
        return torch.zeros(2, channels, height, width)
    return torch.zeros(2, height, width, 3, dtype=torch.uint8)
