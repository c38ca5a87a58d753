"""How much memory the graph of an ONNX file asks for, before a runtime opens it.

The size of each value is inferred for one image, without computing it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from resnets.errors import UserError
from resnets.inference.exported import memory_limits
from resnets.inference.exported.memory_limits import ANY_SIZE, NOT_OURS
from resnets.inference.optional_packages import import_optional

SMALL = 256  # elements of a constant whose content, such as a shape, the inference reads
MOST_EXACT = 2**31  # a number of a shape beyond which it is not computed, since rounding may differ
MOST_ROUNDS = 20  # of the inference, after each of which the shapes that were found are constants of the graph


def check(model: Any, size: tuple[int, int] | None, file_bytes: int) -> None:
    """Raise UserError for an `onnx.ModelProto` that asks for too much memory; the message is the end of a sentence.

    Args:
        size: height and width of the input; None for any.
        file_bytes: the size of the file.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in weights]
    if len(images) != 1 or not _is_plain(model) or any(_count(each.dims) > 2 * file_bytes for each in _tensors(model)):
        raise UserError(NOT_OURS)
    defined = [images[0].name, *weights, *(name for node in model.graph.node for name in node.output if name)]
    if len(set(defined)) < len(defined):
        raise UserError(NOT_OURS)
    try:
        sizes = _value_bytes(model, images[0], size or ANY_SIZE)
    except Exception:  # of any type of the packages
        raise UserError(NOT_OURS) from None
    nodes = [(node.input, [name for name in node.output if name]) for node in model.graph.node]
    memory_limits.check(nodes, sizes, images[0].name, [value.name for value in model.graph.output], file_bytes)


def _count(dims: Any) -> float:
    return math.prod(dims) if min(dims, default=0) >= 0 else math.inf


def _is_plain(model: Any) -> bool:
    """Whether its nodes have no graphs, functions or sparse tensors, each of which could stand for many values."""
    kinds = {field.name for node in model.graph.node for each in node.attribute for field, _ in each.ListFields()}
    special = {"g", "graphs", "sparse_tensor", "sparse_tensors"}
    return not (model.functions or model.graph.sparse_initializer or kinds & special)


def _tensors(model: Any) -> Iterator[Any]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _value_bytes(model: Any, image: Any, size: tuple[int, int]) -> dict[str, int]:
    """The sizes of the values that nodes return, by name, where they can be told.

    They are inferred by the package onnx, on a copy without weights and without what the file itself says of sizes. Not with its
    `data_prop`, which computes shapes of any length: here the shapes of values that are known become constants, and no others.

    Raises:
        Exception: of any type of the packages; the graph is no valid one.
    """
    onnx = import_optional("onnx", "onnx")
    info = onnx.helper.make_tensor_value_info
    graph = onnx.GraphProto(name="sizes", node=model.graph.node)
    graph.input.append(info(image.name, image.type.tensor_type.elem_type, _input_shape(image, size)))
    for tensor in model.graph.initializer:
        if _count(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(info(tensor.name, tensor.data_type, tensor.dims))
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for _ in range(MOST_ROUNDS):
        del copy.graph.output[:]
        for name, kind in types.items():
            if name not in constants:
                copy.graph.output.append(
                    onnx.helper.make_value_info(name, onnx.helper.make_tensor_type_proto(kind, None))
                )
        values = _infer(onnx, copy)
        found = _computed(copy.graph.node, {name: shape for name, (shape, _) in values.items()}, constants)
        if not found:
            break
        constants |= found
        remaining = [node for node in copy.graph.node if constants.keys().isdisjoint(node.output)]
        del copy.graph.node[:]
        copy.graph.node.extend(remaining)
        copy.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in found.items())
    sizes = {name: math.prod(shape) * _dtype(kind).itemsize for name, (shape, kind) in values.items()}
    return sizes | {name: value.nbytes for name, value in constants.items()}


def _input_shape(image: Any, size: tuple[int, int]) -> tuple[int, ...]:
    """That of one image: (1, height, width, 3) of uint8, else (1, C, height, width)."""
    tensor = image.type.tensor_type
    return (1, *size, 3) if tensor.elem_type == 2 else (1, tensor.shape.dim[1].dim_value, *size)  # TensorProto.UINT8


def _infer(onnx: Any, model: Any) -> dict[str, tuple[tuple[int, ...], int]]:
    """Shape and type of the values whose shape is known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(
            each.HasField("dim_value") and each.dim_value >= 0 for each in tensor.shape.dim
        ):
            found[value.name] = (tuple(each.dim_value for each in tensor.shape.dim), tensor.elem_type)
    return found


def _computed(
    nodes: Any, shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What nodes return that ask for the shape of a known value, or compute with a few small constants."""
    found: dict[str, np.ndarray] = {}
    for node in nodes:
        attributes = {each.name: each.i for each in node.attribute}
        inputs = [found[name] if name in found else constants.get(name) for name in node.input]
        if node.op_type == "Shape" and shapes.keys() >= set(node.input):
            sizes = shapes[node.input[0]][attributes.get("start") : attributes.get("end")]
            found[node.output[0]] = np.array(sizes, np.int64)
        elif node.op_type in _OPERATIONS and _are_small(inputs):
            result = _OPERATIONS[node.op_type](inputs, attributes)
            if (np.abs(result) < MOST_EXACT).all():
                found[node.output[0]] = result
    return found


def _are_small(inputs: Sequence[np.ndarray | None]) -> bool:
    """Whether these are known, and so few that an operation of them is small."""
    return len(inputs) <= SMALL and sum(math.inf if each is None else each.size for each in inputs) <= SMALL


def _divide(value: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Integers are rounded to 0, as in ONNX."""
    if not by.all():
        raise ZeroDivisionError
    return np.divide(value, by).astype(value.dtype)


def _squeeze(inputs: Sequence[np.ndarray], attributes: Mapping[str, int]) -> np.ndarray:
    if attributes:
        raise ValueError("the axes are an input since ONNX 1.8")
    return inputs[0].squeeze(tuple(inputs[1].tolist()) if len(inputs) > 1 else None)


# The operations by which exporters make shapes, of inputs and attributes.
_OPERATIONS: dict[str, Callable[[Any, Mapping[str, int]], np.ndarray]] = {
    "Add": lambda inputs, _: np.add(*inputs),
    "Cast": lambda inputs, attributes: inputs[0].astype(_dtype(attributes["to"])),
    "Concat": lambda inputs, attributes: np.concatenate(inputs, attributes["axis"]),
    "Div": lambda inputs, _: _divide(*inputs),
    "Mul": lambda inputs, _: np.multiply(*inputs),
    "Reshape": lambda inputs, _: inputs[0].reshape(inputs[1]),
    "Squeeze": _squeeze,
    "Sub": lambda inputs, _: np.subtract(*inputs),
}


def _dtype(kind: int) -> np.dtype[Any]:
    """That of numpy for one of TensorProto."""
    return np.dtype(import_optional("onnx", "onnx").helper.tensor_dtype_to_np_dtype(kind))
