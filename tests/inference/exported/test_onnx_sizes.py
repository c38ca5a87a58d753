"""Files that ask for more memory than their images are refused before anything is computed."""

from __future__ import annotations

import itertools
import resource
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests import exported_files
from tests.in_soak import only_in_soak

import resnets
from resnets.errors import UserError
from resnets.inference.exported import memory_limits, read_exported

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
LOGITS = "logits"


def hostile(path: Path, kind: str, *nodes: Any, constants: dict[str, Any] | None = None) -> Path:
    """An exported file whose logits are those of the network plus `huge`, the last value of `nodes`; `images` is its input."""
    model = onnx.load(exported_files.exported("onnx", kind))
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["own" if name == LOGITS else name for name in node.output]
        node.input[:] = ["own" if name == LOGITS else name for name in node.input]
    graph.node.extend(nodes)
    graph.node.append(helper.make_node("ReduceMax", ["huge"], ["one"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["own", "one"], [LOGITS]))
    for name, value in (constants or {}).items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    path.write_bytes(model.SerializeToString())
    assert path.stat().st_size < exported_files.exported("onnx", kind).stat().st_size + 1e6
    return path


def refusal(path: Path) -> str:
    """The message, and that no memory was taken; what a process had at most is in kilobytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as error:
        resnets.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    return str(error.value)


node = helper.make_node
HUGE = np.array([60_000, 60_000], np.int64)
COLUMN, ROW = np.zeros((60_000, 1), np.float32), np.zeros((1, 60_000), np.float32)
ASKED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "ConstantOfShape": ([node("ConstantOfShape", ["shape"], ["huge"])], {"shape": HUGE}),
    "Expand": ([node("Expand", ["zero", "shape"], ["huge"])], {"zero": np.float32(0), "shape": HUGE}),
    "Tile": ([node("Tile", ["row", "shape"], ["huge"])], {"row": ROW, "shape": np.array([60_000, 1])}),
    "broadcasting": ([node("Add", ["column", "row"], ["huge"])], {"column": COLUMN, "row": ROW}),
    "a product": ([node("MatMul", ["column", "row"], ["huge"])], {"column": COLUMN, "row": ROW}),
    "a computed shape": (
        [node("Mul", ["some", "some"], ["shape"]), node("ConstantOfShape", ["shape"], ["huge"])],
        {"some": np.array([250, 250], np.int64)},
    ),
    "the image": (
        [node("Cast", ["images"], ["floats"], to=FLOAT), node("Tile", ["floats", "shape"], ["huge"])],
        {"shape": np.array([1, 1000, 1000, 1])},
    ),
    "many values": (
        [
            *(node("ConstantOfShape", ["shape"], [f"part{index}"]) for index in range(40)),
            node("Sum", [f"part{index}" for index in range(40)], ["huge"]),
        ],
        {"shape": np.array([1000, 1000], np.int64)},
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_file_that_asks_for_much_memory_is_refused(name: str, tmp_path: Path) -> None:
    nodes, constants = ASKED[name]
    message = refusal(hostile(tmp_path / "model.onnx", "normalize", *nodes, constants=constants))
    assert message.startswith(f"'{tmp_path / 'model.onnx'}' asks for ")
    assert ("for one image" if name == "the image" else "for values made of constants") in message


def doubled(count: int) -> list[Any]:
    """A shape of 2^count elements, which an inference that computes shapes would make."""
    names = ["some", *(f"doubled{index}" for index in range(count))]
    return [node("Concat", [first, first], [second], axis=0) for first, second in itertools.pairwise(names)]


UNKNOWN: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a value": (
        [node("NonZero", ["own"], ["found"]), node("Cast", ["found"], ["huge"], to=FLOAT)],
        {},
    ),
    "a shape that is computed from the image": (
        [
            node("ReduceSum", ["images"], ["sum"], keepdims=0),
            node("Cast", ["sum"], ["number"], to=INT64),
            node("Expand", ["number", "four"], ["shape"]),
            node("ConstantOfShape", ["shape"], ["huge"]),
        ],
        {"four": np.array([4], np.int64)},
    ),
    "a shape of many elements": (
        [*doubled(40), node("ConstantOfShape", ["doubled39"], ["huge"])],
        {"some": np.array([1], np.int64)},
    ),
    "an operation of another domain": ([node("Whatever", ["images"], ["huge"], domain="com.example")], {}),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_value_whose_size_cannot_be_told_is_refused(name: str, tmp_path: Path) -> None:
    nodes, constants = UNKNOWN[name]
    assert memory_limits.NOT_OURS in refusal(hostile(tmp_path / "model.onnx", "normalize", *nodes, constants=constants))


def test_graphs_in_graphs_and_weights_without_content_are_refused(tmp_path: Path) -> None:
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("images", FLOAT, [1])])
    branch = node("If", ["condition"], ["huge"], then_branch=body, else_branch=body)
    file = hostile(tmp_path / "a.onnx", "normalize", branch, constants={"condition": np.array(True)})
    assert memory_limits.NOT_OURS in refusal(file)
    for change in ("function", "sparse", "empty", "input", "name"):
        model = onnx.load(exported_files.exported("onnx"))
        if change == "function":
            model.functions.add(name="f", domain="d")
        elif change == "sparse":
            model.graph.sparse_initializer.add(dims=[10**9])
        elif change == "empty":
            model.graph.initializer.add(name="x", data_type=FLOAT, dims=[10**6, 10**6])
        elif change == "name":  # the runtime might take either
            model.graph.initializer.add(name=model.graph.node[3].output[0], data_type=FLOAT, dims=[0])
        else:
            model.graph.input.append(helper.make_tensor_value_info("more", FLOAT, [10**6, 10**6]))
        (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
        assert memory_limits.NOT_OURS in refusal(tmp_path / "b.onnx"), change


@pytest.mark.parametrize("kind", ["normalize", "full", pytest.param("none", marks=only_in_soak("4 s"))])
def test_exported_files_need_little(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far below the limits; those of other tasks are read in their own tests."""
    monkeypatch.setattr(memory_limits, "IMAGE_BYTES", 2**20)
    monkeypatch.setattr(memory_limits, "CONSTANT_BYTES", 2**16)
    monkeypatch.setattr(memory_limits, "FILE_FACTOR", 1)
    read_exported.read(exported_files.exported("onnx", kind), "onnx")
