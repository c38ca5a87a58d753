"""How much memory the graph of an OpenVINO folder asks for.

OpenVINO computes what a shape depends on while it reads a file. So the sizes that the XML states are checked before that, and
those that OpenVINO infers after it, before the model is compiled. XML that states other sizes than the true ones is found out
after reading only.
"""

from __future__ import annotations

import math
import re
from typing import Any

from resnets.errors import UserError
from resnets.inference.exported import memory_limits
from resnets.inference.exported.memory_limits import ANY_SIZE, NOT_OURS
from resnets.inference.import_openvino import import_openvino

_PORT = re.compile(rb"<port\b[^>]*(?<!/)>(.*?)</port>", re.DOTALL)
_SIZE = re.compile(rb"<dim>\s*(\d+)\s*</dim>")
_ITEM_BYTES = 4  # of a stated value, whose type is not looked at
_WITH_GRAPHS = ("If", "Loop", "TensorIterator")  # operations that have graphs of their own


def check_stated(xml: bytes) -> None:
    """Raise UserError for XML that states a value that is too large; the message is the end of a sentence."""
    for port in _PORT.findall(xml):
        stated = _ITEM_BYTES * math.prod(int(size[:20]) for size in _SIZE.findall(port))
        memory_limits.check_limit(stated, memory_limits.IMAGE_BYTES, "a value")


def check(model: Any, size: tuple[int, int] | None, file_bytes: int) -> None:
    """Raise UserError for an `openvino.Model` that asks for too much memory; the message is the end of a sentence.

    Args:
        size: height and width of its input; None for any.
        file_bytes: the size of the folder.
    """
    if len(model.inputs) != 1:
        raise UserError(NOT_OURS)
    copy = model.clone()
    image = copy.inputs[0]
    is_uint8 = image.element_type.get_type_name() == "u8"
    sides = [*(size or ANY_SIZE)]
    try:
        copy.reshape(
            import_openvino().PartialShape(
                [1, *sides, 3] if is_uint8 else [1, image.get_partial_shape()[1].get_length(), *sides]
            )
        )
    except RuntimeError:
        raise UserError(NOT_OURS) from None
    operations = copy.get_ordered_ops()
    if any(each.get_type_name() in _WITH_GRAPHS for each in operations):
        raise UserError(NOT_OURS)
    values = {_name(value): value for each in operations for value in each.outputs()}
    sizes = {name: _bytes(value) for name, value in values.items() if not value.get_partial_shape().is_dynamic}
    nodes = [
        ([_name(each.get_source_output()) for each in operation.inputs()], [*map(_name, operation.outputs())])
        for operation in operations
        if operation.get_type_name() not in ("Parameter", "Constant")
    ]
    memory_limits.check(nodes, sizes, _name(image), [_name(each) for each in copy.outputs], file_bytes)


def _name(value: Any) -> str:
    return f"{value.get_node().get_name()}:{value.get_index()}"


def _bytes(value: Any) -> int:
    return math.prod(value.get_shape()) * value.get_element_type().bitwidth // 8
