"""Tensors of the Open Inference Protocol: what is read is what was sent, and anything else is a UserError."""

from __future__ import annotations

import contextlib
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.in_soak import IN_SOAK

from resnets.errors import UserError
from resnets.serve.routes import tensors

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.floats(allow_nan=True) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
INPUT = st.fixed_dictionaries(
    {},
    optional={
        "datatype": st.sampled_from(["BYTES", "UINT8", "FP32"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=4) | JSON,
        "data": JSON,
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(0, 20) | JSON, max_size=1) | JSON,
    },
)


@settings(max_examples=60 if IN_SOAK else 25)
@given(JSON | st.fixed_dictionaries({"inputs": JSON | st.lists(INPUT, max_size=2)}), st.binary(max_size=20))
def test_any_request_is_read_or_refused(values: Any, binary: bytes) -> None:
    with contextlib.suppress(UserError):
        body, rest = tensors.split_body(json.dumps(values).encode() + binary, str(len(json.dumps(values))))
        assert rest == binary
        kind, found = tensors.read_input(body, rest, 8)
        assert kind in ("BYTES", "UINT8", "FP32")
        assert 0 < len(found) <= 8


@settings(max_examples=40)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=4, max_dims=4, max_side=3))
    | arrays.arrays(
        np.float32, arrays.array_shapes(min_dims=4, max_dims=4, max_side=3), elements=st.floats(-9, 9, width=32)
    )
)
def test_numbers_arrive_as_they_were_sent(values: np.ndarray) -> None:
    kind = "UINT8" if values.dtype == np.uint8 else "FP32"
    tensor: dict[str, Any] = {"name": "x", "datatype": kind, "shape": list(values.shape)}
    for data in (values.tolist(), values.ravel().tolist()):
        found = tensors.read_input({"inputs": [tensor | {"data": data}]}, b"", 8)[1]
        np.testing.assert_array_equal(np.stack(found), values)
    binary = tensor | {"parameters": {"binary_data_size": values.nbytes}}
    np.testing.assert_array_equal(np.stack(tensors.read_input({"inputs": [binary]}, values.tobytes(), 8)[1]), values)


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5))
def test_bytes_arrive_as_they_were_sent(contents: list[bytes]) -> None:
    binary = b"".join(struct.pack("<I", len(each)) + each for each in contents)
    parameters = {"binary_data_size": len(binary)}
    tensor = {"name": "x", "datatype": "BYTES", "shape": [len(contents)], "parameters": parameters}
    assert tensors.read_input({"inputs": [tensor]}, binary, 8) == ("BYTES", contents)


def test_outputs_in_both_forms() -> None:
    rows = np.array([[0.25, 0.75]], np.float32)
    outputs = {"label": ("BYTES", ["größe".encode()]), "rows": ("FP32", rows)}
    plain, nothing = tensors.write_outputs(outputs, tensors.wanted_outputs({}, list(outputs)))
    assert nothing == b""
    assert plain == [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["größe"]},
        {"name": "rows", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]},
    ]
    wanted = [{"name": "rows"}, {"name": "label", "parameters": {"binary_data": True}}]
    mixed, binary = tensors.write_outputs(outputs, tensors.wanted_outputs({"outputs": wanted}, list(outputs)))
    assert mixed[0]["data"] == [0.25, 0.75]
    assert mixed[1]["parameters"] == {"binary_data_size": len(binary)}
    assert binary == struct.pack("<I", 7) + "größe".encode()
    asked = {"outputs": [{"name": "rows"}], "parameters": {"binary_data_output": True}}
    assert tensors.write_outputs(outputs, tensors.wanted_outputs(asked, list(outputs)))[1] == rows.tobytes()


def test_text_among_numbers_is_refused_before_memory_is_allocated() -> None:
    """NumPy would give each element the memory of the longest: 4 GB."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1, 1, 10_000], "data": ["a" * 100_000] + [""] * 9_999}
    tracemalloc.start()
    for data in (tensor["data"], [[[tensor["data"]]]], [1.0] * 9_999 + [True], [[[[1.0] * 9_999]]], {}):
        with pytest.raises(UserError, match="`data` has 10000 numbers of the type FP32"):
            tensors.read_input({"inputs": [tensor | {"data": data}]}, b"", 8)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_large_tensor_has_the_binary_form() -> None:
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1, 300, 300, 3], "data": []}
    with pytest.raises(UserError, match="270000 numbers of the type UINT8 is sent in binary form"):
        tensors.read_input({"inputs": [tensor]}, b"", 8)
