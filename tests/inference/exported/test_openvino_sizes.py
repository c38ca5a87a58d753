"""OpenVINO folders that ask for more memory than their images are refused before they are compiled, or even read."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import exported_files, tiny_checkpoint
from tests.in_soak import IN_SOAK

import resnets
from resnets.errors import UserError
from resnets.inference.exported import memory_limits, read_exported
from resnets.inference.import_openvino import import_openvino

openvino = import_openvino()
opset = openvino.opset13


def hostile(folder: Path, side: int, *, of_image: bool = False, decides_shape: bool = False) -> Path:
    """An exported folder with a value of `side` x `side` numbers, or of so many images."""
    own = openvino.Core().read_model(exported_files.exported("openvino") / "model.xml")
    if of_image:
        repeats = opset.constant(np.array([1, side, side, 1]))
        huge: Any = opset.tile(opset.convert(own.inputs[0], np.float32), repeats)
    else:
        huge = opset.broadcast(opset.constant(np.float32(0)), opset.constant(np.array([side, side])))
    number = opset.reduce_max(huge, opset.constant(np.arange(huge.get_output_partial_shape(0).rank.get_length())))
    result = own.outputs[0].get_node().inputs()[0]
    source = result.get_source_output()
    if decides_shape:
        size = opset.maximum(opset.convert(number, np.int64), opset.constant(np.int64(4)))
        shape = opset.concat([opset.constant(np.array([-1])), opset.unsqueeze(size, opset.constant(np.array([0])))], 0)
        changed = opset.reshape(source, shape, special_zero=False)
    else:
        changed = opset.add(source, number)
    names = source.get_names()
    source.get_tensor().set_names(set())
    changed.output(0).get_tensor().set_names(names)
    result.replace_source_output(changed.output(0))
    own.validate_nodes_and_infer_types()
    folder.mkdir()
    openvino.serialize(own, folder / "model.xml", folder / "model.bin")
    return folder


def refusal(folder: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes
    with pytest.raises(UserError) as error:
        resnets.load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    return str(error.value)


def test_a_folder_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    message = refusal(hostile(tmp_path / "constants", 6000))
    assert message.startswith(f"'{tmp_path / 'constants'}' asks for 144.0 MB for values made of constants; at most ")
    folder = hostile(tmp_path / "image", 300, of_image=True)
    assert "asks for 3.0 GB for a value; at most 2.1 GB" in refusal(folder)
    xml = (folder / "model.xml").read_bytes()
    sides = [str(300 * side).encode() for side in tiny_checkpoint.SIZE]
    for side in sides:
        assert side in xml
        xml = xml.replace(b"<dim>" + side + b"</dim>", b"<dim>1</dim>")
    (folder / "model.xml").write_bytes(xml)  # which states other sizes than the true ones
    assert "for one image; at most 2.1 GB" in refusal(folder)


def test_a_stated_size_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    """OpenVINO would compute the value while it reads, since a shape depends on it."""
    folder = hostile(tmp_path / "model", 100, decides_shape=True)
    read_exported.read(folder, "openvino")
    xml = (folder / "model.xml").read_bytes()
    stated = b"<dim>100</dim>"
    assert xml.count(stated) >= 2
    (folder / "model.xml").write_bytes(xml.replace(stated, b"<dim>60000</dim>"))
    assert "asks for 14.4 GB for a value; at most 2.1 GB" in refusal(folder)


@pytest.mark.parametrize("kind", ["normalize", *(["full", "none"] if IN_SOAK else [])])
def test_exported_folders_need_little(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far below the limits."""
    monkeypatch.setattr(memory_limits, "IMAGE_BYTES", 2**20)
    monkeypatch.setattr(memory_limits, "CONSTANT_BYTES", 2**16)
    monkeypatch.setattr(memory_limits, "FILE_FACTOR", 1)
    read_exported.read(exported_files.exported("openvino", kind), "openvino")
