"""The same tiny network exported in each format, once for a test run."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from tests import tiny_checkpoint
from tests.made_once import made_once

from resnets.data.image.preprocess import Preprocess
from resnets.export import graph
from resnets.export.traced_graph import TracedGraph
from resnets.tasks import load_model
from resnets.weights import checkpoint as checkpoints

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


def copy(to: str, path: Path) -> Path:
    """A copy that may be changed."""
    (shutil.copytree if to == "openvino" else shutil.copyfile)(exported(to), path)
    return path
