"""One file for any batch, the same bytes twice, and nothing of this machine in it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests import exported_files
from tests.tiny_checkpoint import NAMES, SIZE, colored_images

import resnets
from resnets.inference.import_openvino import import_openvino
from resnets.tasks import load_model

FORMATS = ("onnx", "openvino", "torch")


def content(path: Path) -> bytes:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return b"".join(file.name.encode() + file.read_bytes() for file in files)


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_bytes_twice_and_no_path_of_this_machine(to: str, tmp_path: Path) -> None:
    first = exported_files.exported(to)
    again = tmp_path / "another name" / first.name
    again.parent.mkdir()
    exported_files.traced(exported_files.checkpoint_file()).write(to, again)
    assert content(again) == content(first)
    data = content(first)
    for part in (Path(resnets.__file__).parent, Path(torch.__file__).parent, Path.home(), first.parent, "/somewhere"):
        assert len(str(part)) > 1
        assert str(part).encode() not in data
    assert b"stack_trace" not in data


def batch(count: int) -> np.ndarray:
    model = load_model.load(exported_files.checkpoint_file(), "cpu")
    return np.stack([model.preprocess.resize_crop(image) for image in colored_images(count)])


def test_plain_onnxruntime_gives_the_probabilities_of_any_batch() -> None:
    model = load_model.load(exported_files.checkpoint_file(), "cpu", precision="fp32")
    session = onnxruntime.InferenceSession(exported_files.exported("onnx"))
    for count in (1, 3, 9):
        images = batch(count)
        probabilities, logits, features = session.run(None, {"images": images})
        expected = model.outputs(
            [model.preprocess.normalize(torch.from_numpy(each).permute(2, 0, 1)) for each in images]
        )
        assert np.abs(logits - expected.numpy()).max() < 1e-5 * np.abs(expected.numpy()).max()
        assert np.abs(probabilities - torch.softmax(expected / 1.75, 1).numpy()).max() < 1e-5
        assert features.shape == (count, 48)


def test_plain_onnx_reads_the_metadata() -> None:
    model = onnx.load(exported_files.exported("onnx"))
    onnx.checker.check_model(model, full_check=True)
    values = {entry.key: entry.value for entry in model.metadata_props}
    assert set(values) == {"resnets", "names", "imgsz"}
    assert ast.literal_eval(values["names"]) == dict(enumerate(NAMES))
    assert ast.literal_eval(values["imgsz"]) == list(SIZE)
    own = json.loads(values["resnets"])
    assert own["checkpoint"]["metrics"]["top1"] == 0.5
    assert own["checkpoint"]["fitted"] == {"temperature": 1.75}
    assert own["checkpoint"]["preprocess"]["mean"] == [0.485, 0.456, 0.406]
    assert own["checkpoint"]["provenance"]["calibration"] == {"data": "photos"}
    assert (own["input"], own["outputs"]) == ("normalize", ["probabilities", "logits", "features"])
    assert [
        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.input
    ] == [["batch", *SIZE, 3]]


def test_plain_openvino_reads_the_folder() -> None:
    openvino = import_openvino()
    model = openvino.Core().read_model(exported_files.exported("openvino") / "model.xml")
    assert [sorted(output.get_names()) for output in model.outputs] == [["probabilities"], ["logits"], ["features"]]
    assert ast.literal_eval(model.get_rt_info(["names"]).astype(str)) == dict(enumerate(NAMES))
    assert json.loads(model.get_rt_info(["resnets"]).astype(str))["checkpoint"]["class_names"] == list(NAMES)
    assert str(model.inputs[0].get_partial_shape()) == f"[?,{SIZE[0]},{SIZE[1]},3]"


def test_plain_torch_opens_the_pt2() -> None:
    own = {"resnets": ""}
    program = torch.export.load(exported_files.exported("torch"), extra_files=own).module()
    assert json.loads(own["resnets"])["checkpoint"]["class_names"] == list(NAMES)
    images = torch.from_numpy(batch(3))
    probabilities, logits, _ = program(images)
    graph = exported_files.traced_once().graph
    assert torch.equal(logits, graph(images)[1])
    assert torch.allclose(probabilities.sum(1), torch.ones(3))
