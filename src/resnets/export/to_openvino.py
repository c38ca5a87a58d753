"""Write a traced graph as a folder of OpenVINO: `model.xml` and `model.bin`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnets.errors import JobError, UserError
from resnets.export.trace import without_stack_traces
from resnets.inference.exported.metadata import encode
from resnets.inference.exported.read_exported import WEIGHTS, XML
from resnets.inference.import_openvino import has_openvino, import_openvino

INPUT_NAME = "images"


def convert(program: Any, output_names: Sequence[str], shape: Sequence[int | None]) -> Any:
    """A `torch.export.ExportedProgram` as an `openvino.Model` in float32.

    Args:
        shape: of the input; None for what may vary.

    Raises:
        UserError: OpenVINO is not installed.
    """
    if not has_openvino():
        raise UserError("`format=openvino` needs OpenVINO, which is not installed: pip install 'resnets[openvino]'")
    openvino = import_openvino()
    with without_stack_traces():
        model = openvino.convert_model(program)
    model.reshape({model.inputs[0]: openvino.PartialShape([-1 if size is None else size for size in shape])})
    model.inputs[0].get_tensor().set_names({INPUT_NAME})
    for output, name in zip(model.outputs, output_names, strict=True):
        output.get_tensor().set_names({name})
    return model


def to_bytes(model: Any, metadata: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of an `openvino.Model` by their names, with metadata as in `resnets.inference.exported.metadata`; equal content
    gives equal bytes.

    Its layers are renamed: OpenVINO numbers them through all models of a process.

    Raises:
        JobError: the folder of temporary files is full.
    """
    openvino = import_openvino()
    model.set_friendly_name("resnets")
    kept = {name for each in (*model.inputs, *model.outputs) for name in each.get_names()}
    for index, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
        _forget_names(operation.get_rt_info())
        for output in operation.outputs():
            output.get_tensor().set_names(output.get_names() & kept)
    for key, value in encode(metadata).items():
        model.set_rt_info(value, [key])
    with tempfile.TemporaryDirectory(prefix="resnets-") as folder:  # it writes to paths only
        xml, weights = (Path(folder, name) for name in (XML, WEIGHTS))
        try:
            openvino.serialize(model, xml, weights)
            return {XML: xml.read_bytes(), WEIGHTS: weights.read_bytes()}
        except (OSError, RuntimeError) as error:
            raise JobError(f"OpenVINO cannot write its files to '{folder}': the disk may be full.") from error


def _forget_names(information: Any) -> None:
    """Remove the former names of a layer, which have such numbers."""
    for key in [key for key in information if key.startswith("fused_names")]:
        del information[key]
