"""Headers that lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from resnets.errors import UserError
from resnets.weights.readers import safetensors_file

FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def written(path: Path, header, data: bytes = bytes(4), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8,
                                   torch.bool])  # fmt: skip
def test_tensors_are_read_as_they_were_written(tmp_path, dtype):
    given = {
        "a": torch.arange(6).reshape(2, 3).to(dtype),
        "none": torch.empty(0, 3, dtype=dtype),
        "one": torch.ones((), dtype=dtype),
    }
    safetensors.torch.save_file(given, tmp_path / "a", metadata={"format": "pt"})
    found, metadata = safetensors_file.read(tmp_path / "a")
    assert metadata == {"format": "pt"}
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) and found[name].dtype == dtype for name in given)


@pytest.mark.parametrize("header", [
    {"a": {**FOUR, "data_offsets": [0, 8]}}, {"a": {**FOUR, "data_offsets": [4, 0]}}, {"a": {**FOUR, "data_offsets": [-4, 0]}},
    {"a": {**FOUR, "data_offsets": [0]}}, {"a": {**FOUR, "shape": [2**40]}}, {"a": {**FOUR, "shape": [2**61, 2**61]}},
    {"a": {**FOUR, "shape": [1.0]}}, {"a": {**FOUR, "shape": [True]}}, {"a": {**FOUR, "dtype": "F33"}},
    {"a": {**FOUR, "dtype": ["F32"]}}, {"a": 3}, {"a": {**FOUR, "shape": [2], "data_offsets": [0, 8]}},
    {"a": FOUR, "b": FOUR}, {"a": {**FOUR, "data_offsets": [4, 8]}}, {}, b'{"a":1,"a":1}', b"{", b"{" * 100_000,
])  # fmt: skip
def test_a_wrong_header_is_refused(tmp_path, header):
    with pytest.raises(UserError, match="is damaged or cut off") as caught:
        safetensors_file.read(written(tmp_path / "a.safetensors", header))
    assert str(tmp_path / "a.safetensors") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "length"), [(bytes(4), 2**40), (bytes(4), 2**20), (bytes(12), None)])
def test_a_wrong_length(tmp_path, data, length):
    with pytest.raises(UserError, match="is damaged or cut off"):
        safetensors_file.read(written(tmp_path / "a", {"a": FOUR}, data, length=length))
