"""Export a model into a model repository, the layout of folders that Triton, KServe and OpenVINO Model Server read.

FOLDER/NAME/1/model.onnx, with its certificate beside it, FOLDER/NAME/config.pbtxt, and FOLDER/NAME/labels.txt with the class
names, one a line. NAME is that which `resnets serve` gives the model. Other models in FOLDER stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from resnets import atomic_write
from resnets.errors import UserError
from resnets.export import export_file
from resnets.export.certificate.certificate import BATCHES, Certificate
from resnets.inference.exported.metadata import LOGITS, PROBABILITIES
from resnets.inference.optional_packages import import_optional
from resnets.progress import log
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import checkpoint as checkpoints
from resnets.weights import local_file

REPOSITORY = "repository"
# In the folder of a model; 1 is its version.
MODEL, CONFIG, LABELS = Path("1", local_file.REPOSITORY_FILE), "config.pbtxt", "labels.txt"
MARK = "# Written by resnets export, which replaces this file."
# Names of Triton's model_config.proto for the types of ONNX's TensorProto that our graphs have.
_TYPES = {"FLOAT": "TYPE_FP32", "UINT8": "TYPE_UINT8", "INT64": "TYPE_INT64"}


def export(
    model: TrainedModel | str | Path, out: str | Path | None, *, preprocess: str, heatmap: bool, images: Sequence[str]
) -> Certificate:
    """Write the folder of the model in the repository `out`; see `resnets.export_model`."""
    file = export_file.find(model)
    root = Path(out) if out is not None else local_file.export_path(file, f"_{REPOSITORY}")
    folder = root / local_file.as_address(local_file.server_name(str(file)))
    if root.exists() and not root.is_dir():
        raise UserError(f"A model repository is a folder; '{root}' is a file.")
    _check_config(folder / CONFIG)
    certificate = export_file.export(
        model, folder / MODEL, to="onnx", preprocess=preprocess, heatmap=heatmap, images=images
    )
    names = checkpoints.read(file, task=None).class_names
    atomic_write.write_text(folder / LABELS, "".join(f"{' '.join(name.split())}\n" for name in names))
    graph = import_optional("onnx", "onnx").load(folder / MODEL).graph
    atomic_write.write_text(folder / CONFIG, config(folder.name, graph, len(names)))
    log(f"model repository: '{root}', with the model '{folder.name}'")
    return certificate


def config(name: str, graph: Any, num_classes: int) -> str:
    """The content of config.pbtxt for an `onnx.GraphProto`.

    Servers may join requests to batches of the largest size that the certificate covers. Then sizes are given without that of
    the batch. An output that does not begin with the batch, as the sizes of YOLO's maps, leaves that to the caller.
    """
    values = [*graph.input, *graph.output]
    batched = all(_sizes(value)[:1] == [-1] for value in values)
    lines = [
        MARK,
        f"name: {_text(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {max(BATCHES) if batched else 0}",
    ]
    if batched:
        lines.append("dynamic_batching {}")
    for kind, group in (("input", graph.input), ("output", graph.output)):
        for value in group:
            lines += [f"{kind} {{", *_tensor(value, batched, num_classes), "}"]
    return "\n".join(lines) + "\n"


def _tensor(value: Any, batched: bool, num_classes: int) -> Iterator[str]:
    onnx = import_optional("onnx", "onnx")
    yield f"  name: {_text(value.name)}"
    yield f"  data_type: {_TYPES[onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)]}"
    yield f"  dims: [{', '.join(map(str, _sizes(value)[batched:]))}]"
    if value.name in (PROBABILITIES, LOGITS) and _sizes(value) == [-1, num_classes]:
        yield f"  label_filename: {_text(LABELS)}"


def _sizes(value: Any) -> list[int]:
    """The shape of a tensor, with -1 for a size that may vary."""
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") else -1 for size in sizes]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _check_config(path: Path) -> None:
    """Raise UserError for a configuration that somebody else wrote."""
    if path.exists() and not path.read_text("utf-8", "replace").startswith(MARK):
        raise UserError(f"'{path}' exists and was not written by resnets: choose another `out`, or remove it.")
    atomic_write.check_file_writable(path)
