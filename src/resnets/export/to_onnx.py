"""Write a traced graph as one ONNX file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from resnets.errors import UserError
from resnets.export.trace import without_stack_traces
from resnets.inference.exported.metadata import encode
from resnets.inference.exported.read_exported import MAX_BYTES
from resnets.inference.optional_packages import import_optional

INPUT_NAME = "images"


def convert(program: Any, output_names: Sequence[str], input_name: str = INPUT_NAME) -> Any:
    """A `torch.export.ExportedProgram` as an `onnx.ModelProto` without stack traces.

    Raises:
        UserError: onnx or onnxscript is not installed.
    """
    for name in ("onnx", "onnxscript"):
        import_optional(name, "onnx")
    with warnings.catch_warnings(), without_stack_traces():
        warnings.simplefilter("ignore")  # of names that torch gives to sizes
        exported = torch.onnx.export(
            program, dynamo=True, external_data=False, verbose=False,
            input_names=[input_name], output_names=list(output_names),
        )  # fmt: skip
    model = exported.model_proto  # type: ignore[union-attr]
    _strip(model)
    _name_sizes(model)
    return model


def to_bytes(model: Any, metadata: Mapping[str, Any]) -> bytes:
    """An `onnx.ModelProto` with metadata as in `resnets.inference.exported.metadata`; equal content gives equal bytes.

    Raises:
        UserError: it is too large for one file.
    """
    del model.metadata_props[:]
    for key, value in encode(metadata).items():
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > MAX_BYTES:
        raise UserError(f"The network has {model.ByteSize():,} bytes; one ONNX file holds 2 GB. Use `format=openvino`.")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip(message: Any) -> None:
    """Remove what the exporter notes of each node and value: stack traces with paths, names of modules."""
    for field in ("doc_string", "metadata_props"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
    if "value_info" in message.DESCRIPTOR.fields_by_name:
        message.ClearField("value_info")  # shapes between, which runtimes infer
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if hasattr(value, "__len__") else [value]:
                _strip(each)


def _name_sizes(model: Any) -> None:
    """Name the sizes that may vary: "batch", "height" and "width" of the input, "batch" of the outputs."""
    (images,) = model.graph.input
    channels_last = images.type.tensor_type.elem_type == 2  # TensorProto.UINT8
    names = ("batch", "height", "width", "") if channels_last else ("batch", "", "height", "width")
    symbols = {}
    for size, name in zip(images.type.tensor_type.shape.dim, names, strict=True):
        if size.dim_param:
            symbols[size.dim_param] = name
            size.dim_param = name
    for output in model.graph.output:
        for size in output.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = symbols.get(size.dim_param, "")
