"""A trained model whose network is computed by an exported file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.image.decode import OpenedImage
from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.inference.exported import int8_files, read_exported
from resnets.inference.exported.exported_runner import ExportedRunner
from resnets.inference.exported.metadata import FEATURES, LOGITS, MAPS, PROBABILITIES
from resnets.inference.exported.read_exported import ExportedFile
from resnets.inference.exported.runtimes import Shape
from resnets.inference.model_runner import OutputsRunner
from resnets.models.resnet import ResNet
from resnets.tasks import registry
from resnets.tasks.base import Task
from resnets.tasks.embeddings import feature_extractor
from resnets.tasks.heatmaps import compute_heatmaps
from resnets.tasks.inputs.read_image import ImageInput
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

MAX_BLOCKS = 10_000  # of a network that is built without tensors; the zoo's deepest has 600


class ExportedModel(TrainedModel):
    """As `TrainedModel`; `model` has the structure of the network and no weights, which are in the file.

    `preprocess` turns an image into the input of the file: what the graph does itself is left out.
    """

    def __init__(
        self, file: ExportedFile, checkpoint: Checkpoint, task: Task, model: nn.Module, runner: ExportedRunner
    ) -> None:
        super().__init__(
            task,
            model,
            input_preprocess(checkpoint.preprocess, str(file.metadata["input"])),
            spec=checkpoint.spec,
            metrics=checkpoint.metrics,
            provenance=checkpoint.provenance,
            has_class_names=bool(checkpoint.class_names) or not task.class_names,
            name=str(file.path),
            runner=runner,
        )
        self.file, self.checkpoint, self.file_runner = file, checkpoint, runner
        self.resizes = file.metadata["input"] == "full"

    def with_network(self, model: nn.Module) -> TrainedModel:
        """The same with another network around the outputs of the file."""
        names = self.file_runner.names
        runner = self.file_runner.with_outputs(names, _finish(self.task, model, names))
        return ExportedModel(self.file, self.checkpoint, self.task, model, runner)

    def check_size(self, image: Tensor) -> None:
        """As for any model, unless the file resizes the images itself."""
        if not self.resizes:
            super().check_size(image)

    def limit_batch(self, batch: int) -> int:
        """1 where the file receives the images at their own sizes, which differ, and are large as float32."""
        return 1 if self.resizes else batch

    def place(self, image: ImageInput | OpenedImage, name: str) -> tuple[Tensor, Placement]:
        """As for any model; the placement is that in the input of the network, also where the file resizes."""
        pixels, placement = super().place(image, name)
        return pixels, self.checkpoint.preprocess.placement(*placement.original)

    def _build_heatmap_runner(self) -> OutputsRunner:
        """Computes the maps of a file that was exported with them."""
        return compute_heatmaps.exported_heatmap_runner(self)

    def _vector_runner(self, layer: str) -> OutputsRunner:
        if layer != feature_extractor.POOLED:
            raise UserError(f"'{self.name}' has no layer '{layer}', only its outputs: use the checkpoint.")
        return self.file_runner.with_outputs([FEATURES], lambda features: features)


def load(
    path: Path, kind: str, device: str = "auto", *, backend: str = "auto", precision: str = "auto"
) -> ExportedModel:
    """The model of the exported file at `path`, of the format `kind`; see `load_model.load`.

    Raises:
        UserError: the file cannot be read or is of no task that is known here, or it does not run on this device, with this
            backend or in this precision.
    """
    if kind == "torch":
        raise UserError(
            f"'{path}' is not read: torch.export.load runs code that a .pt2 file may hold. Use the checkpoint, or export it "
            "with `format=onnx`. In your own program, torch.export.load opens files that you wrote yourself."
        )
    file = read_exported.read(path, kind)
    int8_files.warn_of_processor(file)
    return of_file(file, backend, precision, device)


def of_file(file: ExportedFile, backend: str = "auto", precision: str = "auto", device: str = "auto") -> ExportedModel:
    """The model of an exported file that was read. Raises as `load`."""
    path = file.path
    if device not in ("auto", "cpu"):
        raise UserError(f"'{path}' is computed on the CPU; received `device={device}`. Use the checkpoint there.")
    checkpoint = checkpoints.from_header(path, file.metadata["checkpoint"])
    task = registry.of_checkpoint(checkpoint)
    model = _structure(path, task, checkpoint)
    names = [LOGITS] if isinstance(model, ResNet) else list(task.output_names)
    shapes = _output_shapes(task, model)
    runner = ExportedRunner(file, names, shapes, _finish(task, model, names), backend, precision)
    return ExportedModel(file, checkpoint, task, model, runner)


def input_preprocess(preprocess: Preprocess, kind: str) -> Preprocess:
    """What is left to do for an image before a graph with this `input` (see `exported.metadata.INPUTS`)."""
    values = replace(preprocess, color="rgb", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    if kind == "full":
        return replace(
            values,
            resize="none",
            resize_to=None,
            crop="none",
            interpolation="bilinear",
            antialias=True,
            fast_jpeg=False,
        )
    return values if kind == "normalize" else preprocess


def _structure(path: Path, task: Task, checkpoint: Checkpoint) -> nn.Module:
    """The network on the meta device."""
    blocks = sum(checkpoint.spec.num_blocks)
    try:
        if blocks > MAX_BLOCKS:
            raise ValueError(f"it has {blocks} blocks")
        with torch.device("meta"):
            return task.build(checkpoint.spec)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"'{path}': its network '{checkpoint.spec.name}' cannot be built: {error}") from error


def _output_shapes(task: Task, model: nn.Module) -> dict[str, Shape]:
    """Those of all outputs that an exported file of the model may have, by name."""
    if isinstance(model, ResNet):
        count = task.num_outputs
        vectors: dict[str, Shape] = dict.fromkeys((PROBABILITIES, LOGITS), (None, count))
        return {**vectors, FEATURES: (None, None), MAPS: (None, count, None, None)}
    count = len(task.class_names)
    boxes: dict[str, Shape] = {"boxes": (None, None, 4), "scores": (None, None, count), "sizes": (None, 2)}
    return {LOGITS: (None, count, None, None), **boxes}


def _finish(task: Task, model: nn.Module, names: Sequence[str]) -> Callable[[Any], Any]:
    """What makes the outputs of the model from those of the file; logits of a classifier are its outputs."""
    return (lambda logits: logits) if list(names) == [LOGITS] else task.static_graph(model).finish
