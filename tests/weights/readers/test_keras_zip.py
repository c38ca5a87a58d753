"""`.keras` archives."""

from __future__ import annotations

import json
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from resnets.errors import UserError
from resnets.weights.readers import keras_zip
from resnets.weights.readers.read_any import read


@pytest.fixture
def parts(real):
    with zipfile.ZipFile(real("keras") / "seed.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def sealed(tmp_path, parts):
    """Give a function that writes an archive with other members, or without those that are None."""

    def seal(changes=(), more=(), method=zipfile.ZIP_STORED) -> Path:
        with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.keras", "w", method) as archive:
            warnings.simplefilter("ignore")  # a name twice
            for name, content in [*{**parts, **dict(changes)}.items(), *more]:
                if content is not None:
                    archive.writestr(name, content)
        return tmp_path / "a.keras"

    return seal


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tensors_and_configuration(real, parts, tmp_path):
    found = read(real("keras") / "seed.keras")
    (tmp_path / "a.h5").write_bytes(parts[keras_zip.WEIGHTS])
    tensors = read(tmp_path / "a.h5").tensors
    assert found.container == "keras"
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
    assert found.attributes["config"] == json.loads(parts[keras_zip.CONFIG])
    assert found.attributes["keras_version"] == json.loads(parts[keras_zip.METADATA])["keras_version"]
    assert [layer["name"] for layer in found.attributes["layers"]] == ["bn", "conv", "predictions"]


def test_a_packed_archive_is_read(sealed):
    assert len(read(sealed(method=zipfile.ZIP_DEFLATED)).tensors) == 8


def test_a_lambda_layer_stays_text(sealed, tmp_path):
    code = {
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}},
    }
    found = read(sealed({keras_zip.CONFIG: json.dumps({"config": {"layers": [code]}}).encode()}))
    assert found.attributes["config"]["config"]["layers"] == [code]
    assert len(found.tensors) == 8


@pytest.mark.parametrize(("changes", "more", "said"), [
    ({"model.weights.h5": None}, [], "without model.weights.h5"),
    ({"model.weights.h5": b"text"}, [], "not an HDF5 file"),
    ({"model.weights.h5": b"PK\x03\x04"}, [], "not an HDF5 file"),
    ({"config.json": b"{"}, [], "config.json is not"),
    ({"config.json": b"[1]"}, [], "no object"),
    ({"config.json": b'{"a":' * 200_000}, [], "RecursionError"),
    ({"metadata.json": b"1"}, [], "metadata.json holds"),
    ({}, [("config.json", b"{}")], "a file twice"),
])  # fmt: skip
def test_odd_archives(sealed, changes, more, said):
    assert said in refused(sealed(changes, more))


def test_weights_cut_within(sealed, parts):
    weights = parts[keras_zip.WEIGHTS]
    assert "damaged" in refused(sealed({keras_zip.WEIGHTS: weights[: len(weights) // 2]}))


def test_a_bomb(sealed, parts):
    path = sealed(more=[("assets/zeros", bytes(2**25))], method=zipfile.ZIP_DEFLATED)
    assert "claims to unpack to" in refused(path)
    path = sealed({keras_zip.WEIGHTS: parts[keras_zip.WEIGHTS] + bytes(2**25)}, method=zipfile.ZIP_DEFLATED)
    assert "claims to unpack to" in refused(path)


def test_a_bomb_with_a_false_size(sealed, parts):
    path = sealed({keras_zip.WEIGHTS: parts[keras_zip.WEIGHTS] + bytes(2**25)}, method=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    for mark, size, name in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):  # where the size unpacked stands
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            if data[at + name :].startswith(keras_zip.WEIGHTS.encode()):
                data[at + size : at + size + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_overlapping_members(sealed):
    """Many names for the same packed bytes, as in the bombs of 2019."""
    path = sealed(more=[(f"a{number}", b"") for number in range(50)])
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\x01\x02")
    entry = bytes(data[first + 10 : first + 28]) + data[first + 42 : first + 46]
    for at in (i for i in range(first + 46, len(data)) if data[i : i + 4] == b"PK\x01\x02"):
        data[at + 10 : at + 28], data[at + 42 : at + 46] = entry[:18], entry[18:]
    path.write_bytes(data)
    assert refused(path)


def test_an_encrypted_member(sealed):
    path = sealed()
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in refused(path)


@pytest.mark.parametrize(("count", "length"), [(0xFFFE, 2**31), (3, 2**31)])
def test_a_directory_that_claims_too_much(sealed, count, length):
    path = sealed()
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 10 : end + 16] = struct.pack("<HI", count, length)
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_nothing_is_left_on_the_disk(sealed, tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    read(sealed())
    refused(sealed({keras_zip.WEIGHTS: b"text"}))
    assert not list((tmp_path / "t").iterdir())
