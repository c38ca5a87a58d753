"""The Open Inference Protocol by Triton's client, which is not ours, and by requests that no client sends."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from starlette.testclient import TestClient
from tests import exported_files, tiny_checkpoint
from tests.serve.running import END_SECONDS, images, reference, running, segmenter, serve
from tritonclient.utils import InferenceServerException

from resnets.serve import application
from resnets.serve.routes import inference_protocol as oip
from resnets.serve.settings import ServerSettings
from resnets.tasks.load_model import load

PIXELS = np.stack([tiny_checkpoint.colored_images(1)[0], 255 - tiny_checkpoint.colored_images(1)[0]])
INFER = "/v2/models/tiny/infer"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server of the same network in torch, ONNX Runtime and OpenVINO, and of a segmenter."""
    exported = [serve(load(exported_files.exported(kind)), kind) for kind in ("onnx", "openvino")]
    with running([serve(reference()), *exported, serve(segmenter(), "segmenter")]) as (address, _):
        yield address


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address.removeprefix("http://"))
    yield client
    client.close()


def tensor(name: str, values: np.ndarray, kind: str, *, binary: bool) -> triton.InferInput:
    found = triton.InferInput(name, list(values.shape), kind)
    found.set_data_from_numpy(values, binary_data=binary)
    return found


def expected(contents: Any) -> tuple[list[str], np.ndarray]:
    """Labels and probabilities in the order of the classes."""
    found = reference().predict(contents, top_k=len(tiny_checkpoint.NAMES))
    rows = [[dict(each.top)[name] for name in tiny_checkpoint.NAMES] for each in found]
    return [each.label for each in found], np.array(rows, np.float32)


def check(result: triton.InferResult, wanted: tuple[list[str], np.ndarray], tolerance: float = 1e-5) -> None:
    labels, probabilities = wanted
    found = result.as_numpy("label")  # bytes in binary form, else strings
    assert [each.decode() if isinstance(each, bytes) else each for each in found] == labels
    np.testing.assert_allclose(result.as_numpy("probabilities"), probabilities, atol=tolerance)
    for text, label in zip(result.as_numpy("prediction"), labels, strict=True):
        assert json.loads(text)["label"] == label


def test_metadata_and_health(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    found = client.get_model_metadata("tiny")
    assert {each["name"]: (each["datatype"], each["shape"]) for each in found["inputs"]} == {
        "image": ("BYTES", [-1]), "pixels": ("UINT8", [-1, -1, -1, 3]), "input": ("FP32", [-1, 3, 45, 61]),
    }  # fmt: skip
    assert {each["name"]: (each["datatype"], each["shape"]) for each in found["outputs"]} == {
        "prediction": ("BYTES", [-1]), "label": ("BYTES", [-1]), "probabilities": ("FP32", [-1, 4]),
    }  # fmt: skip
    assert [each["name"] for each in client.get_model_metadata("onnx")["inputs"]] == ["image", "pixels"]
    with pytest.raises(InferenceServerException, match="no such model"):
        client.get_model_metadata("gone")
    assert not client.is_model_ready("gone")


def test_the_version_that_the_metadata_name(client: triton.InferenceServerClient) -> None:
    (version,) = client.get_model_metadata("tiny")["versions"]
    assert client.is_model_ready("tiny", version)
    assert client.get_model_metadata("tiny", version) == client.get_model_metadata("tiny")
    result = client.infer("tiny", [tensor("pixels", PIXELS, "UINT8", binary=True)], model_version=version)
    check(result, expected(list(PIXELS)))
    assert result.get_response()["model_version"] == version
    assert not client.is_model_ready("tiny", "2")
    with pytest.raises(InferenceServerException, match="The model 'tiny' has no such version; there is 1"):
        client.get_model_metadata("tiny", "2")


@pytest.mark.parametrize("binary_output", [True, False])
def test_encoded_images(client: triton.InferenceServerClient, binary_output: bool) -> None:
    contents = list(images()[:3])
    outputs = [
        triton.InferRequestedOutput(name, binary_data=binary_output)
        for name in ("label", "probabilities", "prediction")
    ]
    values = np.array(contents, dtype=np.object_)
    result = client.infer("tiny", [tensor("image", values, "BYTES", binary=True)], outputs=outputs, request_id="7")
    check(result, expected(contents))
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("name", ["tiny", "onnx", "openvino"])
@pytest.mark.parametrize("binary", [True, False])
def test_all_runtimes_answer_alike(client: triton.InferenceServerClient, name: str, binary: bool) -> None:
    inputs = [tensor("pixels", PIXELS, "UINT8", binary=binary)]
    check(client.infer(name, inputs), expected(list(PIXELS)), 1e-5 if name == "tiny" else 1e-3)


@pytest.mark.parametrize("binary", [True, False])
def test_prepared_tensors(client: triton.InferenceServerClient, binary: bool) -> None:
    prepared = np.stack([reference().preprocess(pixels).numpy() for pixels in PIXELS])
    check(client.infer("tiny", [tensor("input", prepared, "FP32", binary=binary)]), expected(list(PIXELS)))


def test_one_output_in_each_form_is_all_that_is_sent(client: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput("label", binary_data=False), triton.InferRequestedOutput("probabilities")]
    result = client.infer("tiny", [tensor("pixels", PIXELS, "UINT8", binary=True)], outputs=outputs)
    assert [each["name"] for each in result.get_response()["outputs"]] == ["label", "probabilities"]
    assert result.as_numpy("prediction") is None
    assert result.as_numpy("probabilities").shape == (2, 4)


def test_a_segmenter_answers_in_json(client: triton.InferenceServerClient) -> None:
    result = client.infer("segmenter", [tensor("pixels", PIXELS, "UINT8", binary=True)])
    answers = [json.loads(text) for text in result.as_numpy("prediction")]
    assert [each["size"] for each in answers] == [list(PIXELS.shape[1:3])] * 2
    assert all(each["masks"] for each in answers)


def test_what_the_model_does_not_take(client: triton.InferenceServerClient) -> None:
    wrong = np.zeros((1, 3, 45, 60), np.float32)
    for name, values, kind, reason in [
        ("tiny", wrong, "FP32", "has 45x60 pixels in place of 45x61"),
        ("tiny", np.zeros((1, 4, 45, 61), np.float32), "FP32", "has 4 channels in place of 3"),
        ("tiny", np.full((1, 3, 45, 61), np.nan, np.float32), "FP32", "values that are not numbers"),
        ("tiny", np.full((1, 3, 45, 61), -2e6, np.float32), "FP32", "has values beyond 1,000,000"),
        ("tiny", np.zeros((1, 1, 32769, 3), np.uint8), "UINT8", "a side of at most 32,768"),
        ("onnx", wrong, "FP32", "takes images only"),
        ("segmenter", wrong, "FP32", "takes images only"),
        ("tiny", np.zeros((1, 8, 8, 4), np.uint8), "UINT8", "has 4 channels in place of 3"),
        ("tiny", np.array([images()[0], b"text"], np.object_), "BYTES", r"Image \[1\] is text"),
        ("tiny", np.zeros(3, np.int64), "INT64", "`datatype` is one of BYTES, UINT8, FP32"),
    ]:  # fmt: skip
        with pytest.raises(InferenceServerException, match=reason):
            client.infer(name, [tensor(oip.INPUT_NAMES.get(kind, "x"), values, kind, binary=True)])


@pytest.fixture(scope="module")
def plain() -> Iterator[TestClient]:
    app = application.build([serve(reference())], ServerSettings(queue=8))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def body(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [""]} | changes]}


def numbers(kind: str, shape: list[int], data: Any) -> dict[str, Any]:
    return body(datatype=kind, shape=shape, data=data)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "`inputs` has one tensor"),
        ({"inputs": []}, "`inputs` has one tensor"),
        ({"inputs": [3]}, "`inputs` has one tensor"),
        (body(shape=[0]), "`shape` is a list of whole numbers above 0"),
        (body(shape=[True]), "`shape` is a list of whole numbers"),
        (body(shape=[1, 1, 1]), r"`shape` of BYTES is [N]"),
        (body(shape=[9]), "A request has at most 8 images; received 9."),
        (body(shape=[2**30]), "A request has at most 8 images"),
        (body(shape=[2]), "`data` has 2 strings"),
        (body(data=["http://127.0.0.1:1/"]), "`data` is not the base64"),
        (body(data=[3]), "`data` has 1 strings"),
        (body(parameters=3), "`parameters` is an object"),
        (body(parameters={"binary_data_size": 5}), "`binary_data_size` is 0"),
        (numbers("UINT8", [1, 1, 1, 3], [1, 2]), "`data` has 3 numbers of the type UINT8"),
        (numbers("UINT8", [1, 1, 1, 3], [1, 2, 256]), "`data` has 3 numbers"),
        (numbers("UINT8", [1, 1, 1, 3], [1, 2, 2.5]), "`data` has 3 numbers"),
        (numbers("UINT8", [1, 1, 1, 3], [1, [2], 3]), "`data` has 3 numbers"),
        (numbers("UINT8", [1, 1, 1, 3], None), "`data` has 3 numbers"),
        (numbers("FP32", [1, 1, 1, 3], ["a", "b", "c"]), "`data` has 3 numbers of the type FP32"),
        (numbers("UINT8", [1, 100000, 100000, 3], [1]), "numbers of the type UINT8"),
        (numbers("UINT8", [1, 1, 1, 3], [1, 2, 3]), "The input of the type UINT8 has the name 'pixels'."),
        (body() | {"outputs": 3}, "`outputs` is a list of objects"),
        (body() | {"parameters": []}, "`parameters` is an object"),
        (body() | {"parameters": 3}, "`parameters` is an object"),
        (body() | {"parameters": {"binary_data_output": 1}}, "`binary_data_output` is true or false"),
        (
            body() | {"outputs": [{"name": "label", "parameters": {"binary_data": "false"}}]},
            "`binary_data` is true or false",
        ),
        (body() | {"id": 3}, "`id` is a string"),
        (body() | {"outputs": [{"name": "label"}] * 2}, "`outputs` names 'label' twice"),
        (body() | {"outputs": [{"name": ["label"]}]}, "There is no output of that name"),
        (body() | {"outputs": [{"name": "label", "parameters": 3}]}, "`parameters` is an object"),
        (body() | {"outputs": [{"name": "gone"}]}, "There is no output of that name; there is prediction, label"),
    ],
)
def test_requests_that_are_refused(plain: TestClient, values: dict[str, Any], reason: str) -> None:
    """Before their images are looked at, which would give 422."""
    answer = plain.post(INFER, json=values)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999999999999999999", "9" * 5000, "", "1"])
def test_a_wrong_length_of_the_json_is_refused(plain: TestClient, length: str) -> None:
    text = json.dumps(body()).encode()
    answer = plain.post(INFER, content=text, headers={"Inference-Header-Content-Length": length})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "binary", [b"", b"\x05\0\0\0ab", struct.pack("<I", 2**32 - 1) + b"a", b"\0\0\0\0\0\0\0\0", b"\0\0"]
)
def test_wrong_binary_data_are_refused(plain: TestClient, binary: bytes) -> None:
    values = body(parameters={"binary_data_size": len(binary)})
    del values["inputs"][0]["data"]
    text = json.dumps(values).encode()
    answer = plain.post(INFER, content=text + binary, headers={"Inference-Header-Content-Length": str(len(text))})
    assert answer.status_code == 400
    assert "1 elements, each after its length" in answer.json()["error"]


def test_a_compressed_body_is_refused(plain: TestClient) -> None:
    answer = plain.post(INFER, content=b"x", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (400, "The body of a request is not compressed.")


def test_the_answers_of_both_protocols_are_the_same(address: str) -> None:
    direct = httpx.post(f"{address}/v1/predict?top_k=4", content=images()[0], timeout=END_SECONDS).json()
    values = body(data=[base64.b64encode(images()[0]).decode()])
    answer = httpx.post(f"{address}{INFER}", json=values, timeout=END_SECONDS).json()
    assert answer["model_name"] == "tiny"
    assert json.loads(answer["outputs"][0]["data"][0]) == direct
