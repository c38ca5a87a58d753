"""The same tiny network exported in each format, and a segmenter as ONNX, once for a test run."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import torch
from tests import tiny_checkpoint
from tests.made_once import made_once
from torch import nn

from resnets.data.image.preprocess import Preprocess
from resnets.export import graph
from resnets.export.traced_graph import TracedGraph
from resnets.models import zoo
from resnets.tasks import load_model
from resnets.tasks.base import Task
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.task import Segmentation
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NAMES = {"onnx": "model.onnx", "openvino": "model_openvino", "torch": "model.pt2"}


@functools.cache
def checkpoint_file() -> Path:
    """The checkpoint; not to be changed."""
    return made_once("exported checkpoint", _write_checkpoint)


def _write_checkpoint(folder: Path) -> Path:
    path = folder / "model.safetensors"
    tiny_checkpoint.write(path, calibration={"data": "/somewhere/on/this/machine/photos"})
    return path


def traced(file: Path, kind: str = "normalize") -> TracedGraph:
    """The graph of a checkpoint; that of the kind "full" has heat maps, too."""
    model = load_model.load(file, "cpu", precision="fp32")
    preprocess: Preprocess = model.preprocess
    size = graph.input_size(preprocess)
    built = graph.build(model.task, model.model, preprocess, kind, heatmap=kind == "full")
    return TracedGraph(built, kind, size, checkpoints.read(file, task=None), file)


@functools.cache
def traced_once(kind: str = "normalize") -> TracedGraph:
    """That of `checkpoint_file`."""
    return traced(checkpoint_file(), kind)


@functools.cache
def exported(to: str, kind: str = "normalize") -> Path:
    """The exported file of the checkpoint; not to be changed."""

    def write(folder: Path) -> Path:
        traced_once(kind).write(to, folder / NAMES[to])
        return folder / NAMES[to]

    return made_once(f"exported {kind} {to}", write)


CLASSES = ("cat", "dog", "owl")


def save(path: Path, task: Task, model: nn.Module, preprocess: Preprocess) -> Path:
    """Write the checkpoint of a model of `CLASSES` whose backbone is `tiny`, with norms that are not those of a new one."""
    random = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # which the export folds
            module.running_mean.normal_(0, 0.1, generator=random)
            module.running_var.uniform_(0.5, 2, generator=random)
    config = {key: value for key, value in vars(task.config).items() if key != "name"}
    spec = zoo.get_spec("tiny")
    checkpoints.save(path, Checkpoint(spec, preprocess, CLASSES, model.state_dict(), task=task.name, config=config))
    return path


@functools.cache
def segmenter_file() -> Path:
    """The checkpoint of a segmenter with an input of any size; not to be changed."""
    return made_once("segmenter checkpoint", _write_segmenter)


def _write_segmenter(folder: Path) -> Path:
    torch.manual_seed(0)
    task = Segmentation(CLASSES, SegmentationConfig(decoder_channels=16))
    preprocess = Preprocess(size=(96, 96), resize="fit", resize_to=None)
    return save(folder / "model.safetensors", task, task.build(zoo.get_spec("tiny")), preprocess)


@functools.cache
def exported_segmenter() -> Path:
    """Its ONNX file; not to be changed."""

    def write(folder: Path) -> Path:
        traced(segmenter_file()).write("onnx", folder / NAMES["onnx"])
        return folder / NAMES["onnx"]

    return made_once("exported segmenter onnx", write)


def copy(to: str, path: Path) -> Path:
    """A copy that may be changed."""
    (shutil.copytree if to == "openvino" else shutil.copyfile)(exported(to), path)
    return path
