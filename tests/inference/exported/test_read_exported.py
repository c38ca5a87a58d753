"""Files that resnets did not write, or that somebody changed, are refused in one line before a runtime sees them."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from tests import exported_files

from resnets.errors import UserError
from resnets.inference.exported import read_exported


def refusal(path: Path, kind: str = "onnx") -> str:
    with pytest.raises(UserError) as error:
        read_exported.read(path, kind)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def changed_onnx(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(exported_files.exported("onnx"))
    change(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_outside_of_the_file_are_refused_at_any_depth(tmp_path: Path) -> None:
    def external(tensor: Any, location: str) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    for location in ("/etc/passwd", "../secret", "beside.bin"):
        path = changed_onnx(tmp_path, lambda model, file=location: external(model.graph.initializer[0], file))
        assert "weights in another file" in refusal(path)

    def nested(model: Any) -> None:
        tensor = onnx.helper.make_tensor("x", onnx.TensorProto.FLOAT, [1], [0.0])
        external(tensor, "/etc/passwd")
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", inner))

    assert "weights in another file" in refusal(changed_onnx(tmp_path, nested))


def test_a_file_that_was_not_exported_by_resnets_or_is_damaged_is_refused(tmp_path: Path) -> None:
    def without(model: Any) -> None:
        del model.metadata_props[:]

    assert "was not exported by resnets" in refusal(changed_onnx(tmp_path, without))
    for text in ("{", "[]", '{"format": 1}', "[" * 100_000):

        def replace(model: Any, value: str = text) -> None:
            model.metadata_props[0].value = value

        keys = [entry.key for entry in onnx.load(exported_files.exported("onnx")).metadata_props]
        assert keys[0] == "resnets"
        assert "metadata that are not those of resnets" in refusal(changed_onnx(tmp_path, replace))

    def newer(model: Any) -> None:
        model.metadata_props[0].value = json.dumps({"format": 99})

    assert "newer resnets" in refusal(changed_onnx(tmp_path, newer))
    empty = tmp_path / "empty.onnx"
    empty.touch()
    assert refusal(empty) == f"'{empty}' is empty. Copy or export it again."
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(exported_files.exported("onnx").read_bytes()[:-1000])
    assert "damaged" in refusal(cut)
    folder = exported_files.copy("openvino", tmp_path / "folder")
    (folder / "model.xml").write_text("<net></net>")
    assert "damaged" in refusal(folder, "openvino")
    (folder / "model.bin").unlink()
    assert "cannot be read" in refusal(folder, "openvino")


def test_weights_of_openvino_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    folder = exported_files.copy("openvino", tmp_path / "folder")
    (folder / "model.bin").write_bytes(b"")
    assert "damaged" in refusal(folder, "openvino")


def test_no_metadata_has_a_type_of_its_own(tmp_path: Path) -> None:
    """Each value of another type is refused, whichever it is."""
    own = json.loads(onnx.load(exported_files.exported("onnx")).metadata_props[0].value)
    for key in own:

        def replace(model: Any, key: str = key) -> None:
            model.metadata_props[0].value = json.dumps({**own, key: 1.5})

        assert "not those of resnets" in refusal(changed_onnx(tmp_path, replace))
    assert zipfile.is_zipfile(exported_files.exported("torch"))


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_only_ordinary_files_of_limited_size_are_read(name: str, tmp_path: Path) -> None:
    path = exported_files.copy("openvino", tmp_path / "folder") / name
    makers: list[Callable[[], object]] = [lambda: path.symlink_to("/dev/zero"), lambda: os.mkfifo(path)]
    for make in makers:
        path.unlink()
        make()
        assert f"'{name}' is not an ordinary file" in refusal(path.parent, "openvino")
    path.unlink()
    path.touch()
    os.truncate(path, 2**31)
    assert "2,147,483,648 bytes; files beyond 2 GB are not read" in refusal(path.parent, "openvino")


def test_xml_that_is_something_else_is_refused_before_the_runtime_sees_it(tmp_path: Path) -> None:
    folder = exported_files.copy("openvino", tmp_path / "folder")
    xml, own = folder / "model.xml", (folder / "model.xml").read_bytes()
    # The runtime would read the first two: OpenVINO recognizes ONNX by its content, and skips a document type.
    doctype = own.replace(b"<net", b"<!DOCTYPE net><net", 1)
    for content in (exported_files.exported("onnx").read_bytes(), doctype, b"\n" + own, b""):
        xml.write_bytes(content)
        assert "damaged, or no model of OpenVINO" in refusal(folder, "openvino")
