"""Tensors in the requests and answers of the Open Inference Protocol: in the JSON, or in binary form after it.

https://github.com/kserve/open-inference-protocol and Triton's extension_binary_data.md.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from resnets.errors import UserError
from resnets.serve.routes import json_body

TYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
BYTES = "BYTES"
BINARY_SIZE = "binary_data_size"
LENGTH_HEADER = "Inference-Header-Content-Length"  # of the JSON before the binary data


def split_body(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON object of a request, and the binary data after it. Raises UserError where it is none."""
    length = len(body)
    if header_length is not None:
        is_number = header_length.isascii() and header_length.isdigit() and len(header_length) <= json_body.MAX_DIGITS
        if not is_number or int(header_length) > length:
            raise UserError(f"{LENGTH_HEADER} is the number of bytes of the JSON, at most {length}.")
        length = int(header_length)
    return json_body.parse(body[:length]), body[length:]


def read_input(values: Mapping[str, Any], binary: bytes, max_images: int) -> tuple[str, list[Any]]:
    """The type of the only input of a request, and each of its images: bytes, or an array (H, W, 3) or (C, H, W).

    Raises:
        UserError: it is something else.
    """
    inputs = values.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise UserError("`inputs` has one tensor.")
    kind, shape = inputs[0].get("datatype"), _shape(inputs[0].get("shape"))
    if kind not in (BYTES, *TYPES):
        raise UserError(f"`datatype` is one of {BYTES}, {', '.join(TYPES)}.")
    if len(shape) not in ((1, 2) if kind == BYTES else (4,)):
        raise UserError(f"`shape` of {kind} is {'[N]' if kind == BYTES else '[N, H, W, 3] or [N, C, H, W]'}.")
    count = math.prod(shape) if kind == BYTES else shape[0]
    if count > max_images:
        raise UserError(f"A request has at most {max_images} images; received {count}.")
    size = _parameters(inputs[0]).get(BINARY_SIZE)
    if size is not None:
        if size != len(binary):
            raise UserError(f"`{BINARY_SIZE}` is {len(binary)}, the number of bytes after the JSON.")
        return kind, _split_bytes(binary, count) if kind == BYTES else list(_array(binary, kind, shape))
    data = inputs[0].get("data")
    return kind, _decode_texts(data, count) if kind == BYTES else list(_numbers(data, kind, shape))


def wanted_outputs(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, bool]:
    """The names of the outputs that a request asks for, each with whether it is sent in binary form.

    Args:
        names: those of the model; all of them are sent where the request names none.

    Raises:
        UserError: there is no such output, or one is asked for twice.
    """
    all_binary = _boolean(_parameters(values), "binary_data_output", False)
    wanted = values.get("outputs", [])
    if not isinstance(wanted, list) or not all(isinstance(each, dict) for each in wanted):
        raise UserError("`outputs` is a list of objects.")
    found: dict[str, bool] = {}
    for each in wanted:
        name = each.get("name")
        if not isinstance(name, str) or name not in names:
            raise UserError(f"There is no output of that name; there is {', '.join(names)}.")
        if name in found:
            raise UserError(f"`outputs` names '{name}' twice.")
        found[name] = _boolean(_parameters(each), "binary_data", all_binary)
    return found or dict.fromkeys(names, all_binary)


def write_outputs(
    outputs: Mapping[str, tuple[str, Any]], wanted: Mapping[str, bool]
) -> tuple[list[dict[str, Any]], bytes]:
    """The outputs for JSON, and the binary data after it.

    Args:
        outputs: by name, the type and the values: float32 (N, K), or a list of N bytes.
        wanted: as of `wanted_outputs`.
    """
    tensors, parts = [], []
    for name, is_binary in wanted.items():
        kind, values = outputs[name]
        shape = [len(values)] if kind == BYTES else list(values.shape)
        tensor: dict[str, Any] = {"name": name, "datatype": kind, "shape": shape}
        if is_binary:
            part = (
                b"".join(struct.pack("<I", len(text)) + text for text in values) if kind == BYTES else values.tobytes()
            )
            tensor["parameters"] = {BINARY_SIZE: len(part)}
            parts.append(part)
        else:
            tensor["data"] = [text.decode() for text in values] if kind == BYTES else values.ravel().tolist()
        tensors.append(tensor)
    return tensors, b"".join(parts)


def _parameters(tensor: Mapping[str, Any]) -> Mapping[str, Any]:
    found = tensor.get("parameters", {})
    if not isinstance(found, dict):
        raise UserError("`parameters` is an object.")
    return found


def _boolean(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    found = parameters.get(name, default)
    if not isinstance(found, bool):
        raise UserError(f"`{name}` is true or false.")
    return found


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(size) is int and 0 < size < 2**31 for size in value):
        raise UserError("`shape` is a list of whole numbers above 0.")
    return tuple(value)


def _array(binary: bytes, kind: str, shape: Sequence[int]) -> np.ndarray:
    expected = math.prod(shape) * TYPES[kind].itemsize
    if len(binary) != expected:
        raise UserError(f"A tensor of this shape has {expected} bytes; received {len(binary)}.")
    return np.frombuffer(binary, TYPES[kind]).reshape(shape)


def _numbers(data: Any, kind: str, shape: Sequence[int]) -> np.ndarray:
    """Numbers in a flat list, or in lists that are nested as the shape says."""
    count = math.prod(shape)
    if count > json_body.MAX_VALUES:
        raise UserError(f"A tensor of {count} numbers of the type {kind} is sent in binary form, not in JSON.")
    is_number = _is_byte if kind == "UINT8" else _is_number
    is_flat = isinstance(data, list) and len(data) == count and all(map(is_number, data))
    values = data if is_flat else _flatten(data, shape)
    if values is None or not all(map(is_number, values)):
        raise UserError(f"`data` has {count} numbers of the type {kind}.")
    with np.errstate(over="ignore"):  # beyond float32 it is infinite
        return np.array(values, TYPES[kind]).reshape(shape)


def _flatten(data: Any, shape: Sequence[int]) -> list[Any] | None:
    """The elements of nested lists; None for lists of other lengths than the shape says."""
    values = [data]
    for size in shape:
        if not all(isinstance(each, list) and len(each) == size for each in values):
            return None
        values = list(chain.from_iterable(values))
    return values


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)  # bool is a kind of int


def _is_byte(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 255


def _split_bytes(binary: bytes, count: int) -> list[bytes]:
    """Elements that begin with their length, in 4 bytes."""
    found: list[bytes] = []
    position = 0
    while position + 4 <= len(binary) and len(found) < count:
        (size,) = struct.unpack_from("<I", binary, position)
        found.append(binary[position + 4 : position + 4 + size])
        position += 4 + size
    if len(found) != count or position != len(binary):
        raise UserError(f"The binary data has {count} elements, each after its length in 4 bytes.")
    return found


def _decode_texts(data: Any, count: int) -> list[bytes]:
    if not isinstance(data, list) or len(data) != count or not all(isinstance(each, str) for each in data):
        raise UserError(f"`data` has {count} strings, the base64 of the bytes of an image.")
    try:
        return [base64.b64decode(each, validate=True) for each in data]
    except (binascii.Error, ValueError):
        raise UserError("`data` is not the base64 of the bytes of images. Binary data needs none.") from None
