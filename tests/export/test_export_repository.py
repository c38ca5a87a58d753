"""A model repository describes its ONNX file as Triton reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tests import exported_files
from tests.tiny_checkpoint import NAMES, SIZE

import resnets
from resnets.errors import UserError
from resnets.export import export_repository
from resnets.hashing import sha256

model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")

TYPES = {"tensor(float)": "TYPE_FP32", "tensor(uint8)": "TYPE_UINT8", "tensor(int64)": "TYPE_INT64"}


def parsed(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def of_config(config: Any) -> list[tuple[str, str, list[int]]]:
    """Names, types and shapes of inputs and outputs; a batch of any size comes first if the server makes batches."""
    batch = [-1] if config.max_batch_size else []
    name = model_config_pb2.DataType.Name
    return [(each.name, name(each.data_type), batch + list(each.dims)) for each in (*config.input, *config.output)]


def of_runtime(content: bytes | Path) -> list[tuple[str, str, list[int]]]:
    session = onnxruntime.InferenceSession(content)
    values = (*session.get_inputs(), *session.get_outputs())
    return [
        (each.name, TYPES[each.type], [size if isinstance(size, int) else -1 for size in each.shape]) for each in values
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    run = root / "runs" / "the first"
    (run / "weights").mkdir(parents=True)
    (run / "recipe.toml").touch()
    shutil.copyfile(exported_files.checkpoint_file(), run / "weights" / "best.safetensors")
    certificate = resnets.export_model(run, root / "models", layout="repository")
    assert certificate.passed
    assert certificate.path == root / "models" / "the_first" / "1" / "model.onnx"
    return root


def test_the_configuration_is_that_of_the_onnx_file(repository: Path) -> None:
    folder = repository / "models" / "the_first"
    config = parsed((folder / "config.pbtxt").read_text())
    assert (config.name, config.backend, config.max_batch_size) == ("the_first", "onnxruntime", 16)
    assert config.HasField("dynamic_batching")
    assert of_config(config) == of_runtime(folder / "1" / "model.onnx")
    assert of_config(config)[0] == ("images", "TYPE_UINT8", [-1, *SIZE, 3])
    assert [each.label_filename for each in config.output] == ["labels.txt", "labels.txt", ""]
    assert (folder / "labels.txt").read_text().splitlines() == list(NAMES)


def test_the_certificate_is_beside_the_file(repository: Path) -> None:
    folder = repository / "models" / "the_first"
    assert sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*.*")) == [
        "1/model.onnx", "1/model.onnx.certificate.json", "config.pbtxt", "labels.txt",
    ]  # fmt: skip
    certificate = json.loads((folder / "1" / "model.onnx.certificate.json").read_text())
    assert certificate["sha256"] == {"model.onnx": sha256(folder / "1" / "model.onnx")}


def test_images_of_any_size_and_heat_maps_are_described() -> None:
    file = exported_files.exported("onnx", "full")
    config = parsed(export_repository.config("model", onnx.load(file).graph, len(NAMES)))
    assert of_config(config) == of_runtime(file)
    assert of_config(config)[0] == ("images", "TYPE_UINT8", [-1, -1, -1, 3])
    assert "maps" in [each.name for each in config.output]


def test_outputs_without_a_batch_leave_batches_to_the_caller() -> None:
    """As of YOLO, which gives the sizes of its maps, too."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 8, 8, 3])
    sizes = helper.make_tensor_value_info("sizes", TensorProto.INT64, [4])
    shape = helper.make_node("Shape", ["images"], ["sizes"])
    model = helper.make_model(
        helper.make_graph([shape], "sizes", [images], [sizes]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    config = parsed(export_repository.config("yolo", model.graph, 80))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert of_config(config) == of_runtime(model.SerializeToString())


def test_other_files_stay_as_they_are(repository: Path, tmp_path: Path) -> None:
    file = exported_files.checkpoint_file()
    config = tmp_path / "model" / "config.pbtxt"
    config.parent.mkdir()
    config.write_text('name: "mine"')
    with pytest.raises(UserError, match="was not written by resnets"):
        resnets.export_model(file, tmp_path, layout="repository")
    assert config.read_text() == 'name: "mine"'
    (tmp_path / "a_file").touch()
    with pytest.raises(UserError, match="is a file"):
        resnets.export_model(file, tmp_path / "a_file", layout="repository")
    with pytest.raises(UserError, match="Leave one of them out"):
        resnets.export_model(file, tmp_path, layout="repository", format="openvino")
    with pytest.raises(UserError, match="`layout` is repository or left out; received 'triton'"):
        resnets.export_model(file, tmp_path, layout="triton")
