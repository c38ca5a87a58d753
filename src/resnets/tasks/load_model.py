"""Load the model of a checkpoint, of a run directory, of a name of the catalog, or of an exported file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from resnets.errors import UserError
from resnets.hashing import sha256
from resnets.inference.device import resolve_device
from resnets.inference.exported import int8_files
from resnets.inference.exported.int8_files import INT8
from resnets.progress import log
from resnets.tasks import registry
from resnets.tasks.base import Task
from resnets.tasks.exported import exported_model
from resnets.tasks.exported.exported_model import ExportedModel
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights import find_weights, local_file
from resnets.weights.checkpoint import Checkpoint


def load(path: str | Path, device: str = "auto", *, backend: str = "auto", precision: str = "auto") -> TrainedModel:
    """Load the model of a checkpoint, or the best one of a run directory, in eval mode.

    Args:
        path: a checkpoint, a run directory, a name of `resnets weights list`, or an exported file (for OpenVINO a folder).
        device: "auto" (the first GPU if torch has one, else the CPU), "cpu", "cuda", "cuda:1", "1" or "mps".
        backend, precision: what computes the predictions, as in `TrainedModel`. The backends of an exported file are
            "onnxruntime" and "openvino". `precision="int8"` takes the file that `resnets.quantize` wrote beside the checkpoint.

    Returns:
        The model: `.predict(images)`, `.embed(images)`, the network `.model`, its `.preprocess` and its `.class_names`. A last
        layer that was not trained is needed by `predict` only, which refuses it.

    Raises:
        UserError: `path` is not an undamaged checkpoint of resnets, its task is not known here, there is no such device, or no
            int8 file that passed.
    """
    file = find_weights.find_file(path)
    if kind := local_file.exported_format(file):
        return exported_model.load(file, kind, device, backend=backend, precision=precision)
    if precision == INT8:
        int8 = int8_files.find(file, local_file.export_paths(file, int8_files.ENDINGS))
        log(f"int8: '{int8.path}' {int8_files.passed_in_words(int8)}")
        int8_files.warn_of_processor(int8)
        return exported_model.of_file(int8, backend, device=device)
    device = resolve_device(device)
    checkpoint = checkpoints.read(file, task=None)
    task, model = load_network(checkpoint)
    return TrainedModel(
        task,
        model,
        checkpoint.preprocess,
        spec=checkpoint.spec,
        metrics=checkpoint.metrics,
        provenance=checkpoint.provenance,
        has_class_names=bool(checkpoint.class_names) or not task.class_names,
        device=device,
        backend=backend,
        precision=precision,
        name=str(path),
    )


def is_exported(path: str | Path) -> bool:
    """Whether `path` is an exported file, whose precision is that of the file."""
    return local_file.exported_format(find_weights.find_file(path)) is not None


def load_hashed(
    path: str | Path, device: str = "auto", *, backend: str = "auto", precision: str = "auto"
) -> tuple[TrainedModel, str]:
    """As `load`, with the SHA-256 of the file; of a folder of OpenVINO, that of its `model.xml` followed by its `model.bin`.

    Raises:
        UserError: as `load`, or the file changes while it is read.
    """
    file = find_weights.find_file(path)
    if local_file.exported_format(file):  # which is read once
        model = load(path, device, backend=backend, precision=precision)
        assert isinstance(model, ExportedModel)
        return model, int8_files.content_sha256(model.file)
    digest = sha256(file)
    model = load(path, device, backend=backend, precision=precision)
    if sha256(file) != digest:  # by a training that goes on; predictions would be those of other weights
        raise UserError(f"'{file}' was changed while it was read. Use it when its training has ended.")
    return model, digest


def load_network(checkpoint: Checkpoint) -> tuple[Task, nn.Module]:
    """The task of a checkpoint and its model, in eval mode; torch's random state is not changed.

    Raises:
        UserError: the task is not known here, or tensors do not fit.
    """
    task = registry.of_checkpoint(checkpoint)
    checkpoints.check_blocks(checkpoint)
    try:
        with torch.device("meta"):
            model = task.build(checkpoint.spec)
    except (ValueError, RuntimeError) as error:  # sizes that do not divide, or that no memory could hold
        raise UserError(f"The checkpoint's network '{checkpoint.spec.name}' cannot be built: {error}") from error
    checkpoints.assign_tensors(model, checkpoint)
    return task, model.eval()
