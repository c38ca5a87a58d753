"""POST /v1/predict: images in each form, and answers equal to those of `predict`."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests import exported_files, tiny_checkpoint
from tests.serve.running import END_SECONDS, Gate, encode, images, reference, segmenter, serve, tiny_model
from tests.tiny_checkpoint import NAMES

from resnets.serve import application, served_model
from resnets.serve.settings import ServerSettings
from resnets.tasks.load_model import load
from resnets.tasks.multilabel.task import Multilabel

LOCAL = "http://127.0.0.1"


def client_of(*models: Any, **values: Any) -> TestClient:
    app = application.build(models, ServerSettings(**values))
    return TestClient(app, base_url=LOCAL, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(serve(reference())) as client:
        yield client


def expected(content: bytes, **options: Any) -> dict[str, Any]:
    return reference().predict([content], **options)[0].to_dict()


def assert_equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    assert found["label"] == wanted["label"]
    assert [each["label"] for each in found["top"]] == [each["label"] for each in wanted["top"]]
    for one, other in zip(found["top"], wanted["top"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_raw_bytes_and_base64_in_json(client: TestClient) -> None:
    for content in images()[:3]:
        for kind in ("image/png", "application/octet-stream", "application/x-www-form-urlencoded"):
            found = client.post("/v1/predict", content=content, headers={"Content-Type": kind})
            assert found.status_code == 200
            assert_equal(found.json(), expected(content))
        in_json = client.post("/v1/predict", json={"image": base64.b64encode(content).decode()})
        assert_equal(in_json.json(), expected(content))


def test_the_json_is_that_of_the_command(
    client: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from resnets.cli.main import main

    (tmp_path / "image.png").write_bytes(images()[0])
    words = ["predict", str(exported_files.checkpoint_file()), str(tmp_path / "image.png"), "--jsonl", "-"]
    assert main([*words, "--precision", "fp32", "--device", "cpu", "--top-k", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = client.post("/v1/predict?top_k=2", files={"files": ("image.png", images()[0])}).json()["predictions"][0]
    assert_equal(found, printed)
    assert Path(printed["path"]).name == found["path"]


def test_the_files_of_a_form(client: TestClient) -> None:
    names = ["a.png", "../../etc/passwd", "größe <b>.png", ""]
    contents = [*images()[:2], b"no image", images()[2]]
    files = [("files", (name, content)) for name, content in zip(names, contents, strict=True)]
    answer = client.post("/v1/predict", files=files)
    assert answer.status_code == 200  # one of them was read
    found = answer.json()["predictions"]
    assert [each["path"] for each in found] == names[:3]  # a part without a name is no file
    assert found[2]["error"].startswith("is text, not an image")
    assert_equal(found[1], expected(contents[1]) | {"path": names[1]})


def test_large_files_of_a_form_stay_in_memory(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there-is-no-such-folder"))
    large = encode(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8))
    assert len(large) > 2**20
    answer = client.post("/v1/predict", files={"files": ("large.png", large)})
    assert answer.status_code == 200
    assert_equal(answer.json()["predictions"][0], expected(large) | {"path": "large.png"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello there", "is text"),
        (images()[0][:300], "is cut short"),
        (b"\xff\xd8\xff" + bytes(50), "damaged"),
    ],
)
def test_an_image_that_cannot_be_read(client: TestClient, content: bytes, reason: str) -> None:
    answer = client.post("/v1/predict", content=content)
    assert answer.status_code == 422
    assert reason in answer.json()["error"]
    assert answer.json().keys() == expected(images()[0]).keys()
    form = client.post("/v1/predict", files={"files": ("x", content)})
    assert form.status_code == 422
    assert reason in form.json()["predictions"][0]["error"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("top_k=0", "`top_k` must be 1 or more; received 0."),
        ("top_k=x", "`top_k` is a number; received 'x'."),
        ("top_k=%203", "`top_k` is a number; received ' 3'."),
        ("top_k=1_0", "`top_k` is a number"),
        ("top_k=%D9%A3", "`top_k` is a number"),
        ("score=nan", "`score` is a number"),
        ("top_k=1&top_k=2", "`top_k` is given twice."),
        ("top_k=" + "9" * 5000, "`top_k` is a number"),
        ("heatmap=yes", "`heatmap` is 0 or 1; received 'yes'."),
        ("score=0.5", "`score` has no effect on predictions of the task classification"),
        ("topk=1", "There is no parameter of that name; there is model, top_k, heatmap, heatmap_class, score."),
        ("url=http://example.org/x.png", "There is no parameter of that name"),
    ],
)
def test_parameters_that_are_refused(client: TestClient, query: str, reason: str) -> None:
    answer = client.post(f"/v1/predict?{query}", content=images()[0])
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"url": "http://127.0.0.1:1/x.png"}', "No URL is fetched: send the image itself."),
        (b'{"image": "aGVsbG8=", "url": "http://127.0.0.1:1/"}', "No URL is fetched"),
        (b'{"image": "http://127.0.0.1:1/x.png"}', "`image` is not the base64"),
        (b'{"image": "file:///etc/passwd"}', "`image` is not the base64"),
        (b'{"image": 3}', "The JSON of a request is"),
        (b"[]", "The JSON of a request is an object"),
        (b"{", "The body is no JSON."),
        (b"[" * 100_000, "The body is no JSON."),
        (b"\xff\xfe", "The body is no JSON."),
        (b"[" + b"0," * 200_001 + b"0]", "more than 200,000 values"),
    ],
)
def test_json_that_is_refused(client: TestClient, body: bytes, reason: str) -> None:
    answer = client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_nothing_is_fetched(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server-side request forgery: whatever a request says, the server connects to nobody."""

    def connect(*_: object) -> None:
        raise AssertionError("a connection was made")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/x.png"/></svg>'
    for content in (b"http://127.0.0.1:1/x.png", svg, b"P6 http://127.0.0.1:1/"):
        assert client.post("/v1/predict", content=content).status_code == 422
    for value in ("http://127.0.0.1:1/x.png", "file:///etc/passwd", r"\\127.0.0.1\share"):
        assert client.post("/v1/predict", json={"url": value}).status_code == 400
        assert client.post("/v1/predict", json={"image": value}).status_code == 400
        assert client.post("/v1/predict", data={"files": value}).status_code == 422
        form = client.post("/v1/predict", files={"other": (value, b"x"), "url": (None, value)})
        assert form.status_code == 400


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "utf8", "punycode", "undefined", "x-1", ""])
def test_a_form_in_another_charset_is_refused(client: TestClient, charset: str) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + images()[0] + b"\r\n--x--\r\n"
    for name in ("charset", "Charset"):
        kind = f"multipart/form-data; boundary=x; {name}={charset}"
        answer = client.post("/v1/predict", content=form, headers={"Content-Type": kind})
        assert answer.status_code == (200 if "utf" in charset.lower() else 400)


def test_forms_of_too_many_parts_or_too_large_fields_are_refused(client: TestClient) -> None:
    boundary = b"x"
    file = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\na\r\n'
    field = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n%s\r\n'
    header = b"--x\r\n" + b"A: b\r\n" * 10_000 + b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n'
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"}
    for parts in (file * 10_000, field % b"" * 10_000, field % bytes(10**6), header, file[:50], b"nothing"):
        answer = client.post("/v1/predict", content=parts + b"--x--\r\n", headers=kind)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("The form ")
    for kind_of in ("multipart/form-data", "multipart/form-data; boundary="):
        assert client.post("/v1/predict", content=file, headers={"Content-Type": kind_of}).status_code == 400


def test_a_form_of_more_files_than_ever_wait_says_so() -> None:
    """It would be told for ever to try again."""
    files = [("files", ("a.png", images()[0]))] * 5
    with client_of(serve(reference()), queue=4) as client:
        answer = client.post("/v1/predict", files=files)
        assert answer.status_code == 400
        assert "Maximum number of files is 4" in answer.json()["error"]
        assert client.post("/v1/predict", files=files[1:]).status_code == 200


@settings(max_examples=60)
@given(
    st.binary(max_size=200), st.sampled_from(["image/png", "application/json", "multipart/form-data; boundary=x", ""])
)
def test_no_body_makes_the_server_fail(client: TestClient, body: bytes, kind: str) -> None:
    for content in (body, b"\x89PNG\r\n\x1a\n" + body, b"--x\r\n" + body):
        assert client.post("/v1/predict", content=content, headers={"Content-Type": kind}).status_code in (400, 422)


def test_bombs_are_refused_by_their_header(client: TestClient) -> None:
    for content in bombs():
        answer = client.post("/v1/predict", content=content)
        assert answer.status_code == 422
        assert "at most 89,478,485 are read" in answer.json()["error"]
    small = client_of(serve(reference()), max_pixels=1000)
    with small:
        assert "at most 1,000 are read" in small.post("/v1/predict", content=images()[0]).json()["error"]
        assert small.post("/v1/predict", content=encode(np.zeros((30, 33, 3), np.uint8))).status_code == 200


def bombs() -> list[bytes]:
    """Files of a few bytes that claim billions of pixels: PNG, GIF and TIFF."""
    header = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(100)))
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x00\x00\x00" + bytes(20)
    entries = [
        (256, 4, 1, 10**5),
        (257, 4, 1, 10**5),
        (258, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (279, 4, 1, 8),
    ]
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    tiff += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return [png, gif, tiff]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_heat_maps_of_the_classes_of_the_answer(client: TestClient) -> None:
    found = client.post("/v1/predict?top_k=3&heatmap=1", content=images()[1]).json()
    assert [each["label"] for each in found["heatmaps"]] == [each["label"] for each in found["top"]]
    for each in found["heatmaps"]:
        wanted = reference().heatmap(images()[1], each["label"])
        np.testing.assert_allclose(each["values"], wanted.values, atol=1e-3)
        assert each["logit"] == pytest.approx(wanted.logit, abs=1e-4)
        assert (each["box"], each["size"]) == (list(wanted.box), list(wanted.size))
    assert "heatmaps" not in client.post("/v1/predict?heatmap=0", content=images()[1]).json()


def test_the_heat_map_of_any_class(client: TestClient) -> None:
    last = client.post("/v1/predict?top_k=9", content=images()[1]).json()["top"][-1]["label"]
    found = client.post("/v1/predict", params={"top_k": 1, "heatmap_class": last}, content=images()[1]).json()
    (only,) = found["heatmaps"]
    assert only["label"] == last != found["label"]
    np.testing.assert_allclose(only["values"], reference().heatmap(images()[1], last).values, atol=1e-3)
    wrong = client.post("/v1/predict?heatmap_class=unheard-of", content=images()[1])
    assert (wrong.status_code, wrong.json()) == (400, {"error": "The model has no class 'unheard-of'."})


def form_of(value: Any) -> Any:
    """The keys and kinds of a JSON value: of a list, those of its first element; of areas, whose keys are classes, no keys."""
    if isinstance(value, dict):
        return {key: form_of(list(each.values()) if key == "areas" else each) for key, each in value.items()}
    if isinstance(value, list):
        return [form_of(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def test_the_answers_that_the_documentation_shows(client: TestClient, tmp_path: Path) -> None:
    """Have what the answers of a model of each task have."""
    page = (Path(__file__).parents[3] / "docs" / "serve.md").read_text(encoding="utf-8")
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    tiny_checkpoint.write(
        tmp_path / "several.safetensors", task=Multilabel(NAMES, fitted={"thresholds": dict.fromkeys(NAMES, 0.01)})
    )
    several = serve(load(str(tmp_path / "several.safetensors"), "cpu", precision="fp32"), "several")
    detector = serve(load("fasterrcnn_light_tiny.digit_scenes", "cpu", precision="fp32"), "detector")
    found = [client.post("/v1/predict?top_k=2&heatmap=1", content=images()[0]).json()]
    with client_of(several, detector, serve(segmenter(), "segmenter")) as others:
        for name in ("several", "detector", "segmenter"):
            found.append(others.post(f"/v1/predict?model={name}", content=images()[0]).json())
    assert [form_of(each) for each in shown] == [form_of(each) for each in found]
    areas, masks = shown[-1]["areas"], shown[-1]["masks"]
    assert {each["label"]: float(coco_masks.decode(each).mean()) for each in masks} == areas


def test_a_file_without_heat_maps_says_so() -> None:
    served = serve(load(exported_files.exported("onnx")))
    assert not served.has_heatmaps
    with client_of(served) as client:
        answer = client.post("/v1/predict?heatmap=1", content=images()[0])
        assert answer.status_code == 400
        assert "exported without heat maps" in answer.json()["error"]
        assert_equal(client.post("/v1/predict", content=images()[0]).json(), expected(images()[0]))


def test_the_objects_of_a_detector() -> None:
    served = served_model.load("fasterrcnn_light_tiny.digit_scenes", "cpu", precision="fp32")
    scene = encode(np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8))
    with client_of(served) as client:
        found = client.post("/v1/predict?score=0.05", content=scene).json()
        assert found == served.model.predict([scene], score=0.05)[0].to_dict() | {"path": "[0]"}
        assert found["size"] == [90, 130]
        # Together with images of which less is wanted, as the batcher computes them: on both sides of a score, and at it.
        task, all_ = served.model.task, served.model.predict([scene], score=0.05)[0]
        for least in (0.0501, all_.objects[3].score, 0.9):
            assert task.widest_options([{"score": least}, {}, {"score": 0.05}]) == {"score": 0.05}
            wanted = served.model.predict([scene], score=least)[0]
            assert len(task.narrow(all_, {"score": least}).objects) > 0 or least == 0.9
            assert task.narrow(all_, {"score": least}).to_dict() == wanted.to_dict()
        assert client.post("/v1/predict?heatmap=1", content=scene).status_code == 400
        assert client.post("/v1/predict?top_k=1", content=scene).status_code == 400
        assert client.post("/v1/predict", content=scene).json().keys() == {"path", "size", "objects", "error"}


def test_the_masks_of_a_segmenter() -> None:
    """Of images of different sizes, of which large ones are computed alone."""
    model = segmenter()
    with client_of(serve(model)) as client:
        for pixels in tiny_checkpoint.colored_images(3):
            found = client.post("/v1/predict", content=encode(pixels)).json()
            wanted = model.predict([pixels])[0]
            assert found["areas"] == wanted.to_dict()["areas"]
            decoded = np.full(wanted.size, 255)
            for mask in found["masks"]:
                decoded[coco_masks.decode(mask) == 1] = model.class_names.index(mask["label"])
            np.testing.assert_array_equal(decoded, wanted.mask)
        assert "masks" not in client.post("/v1/predict", content=b"text").json()


def test_a_request_that_takes_too_long_and_one_too_many() -> None:
    model = tiny_model()
    gate = Gate(model)
    app = application.build([serve(model)], ServerSettings(timeout_seconds=0.2, queue=1))
    with TestClient(app, base_url=LOCAL) as client:
        assert app.state.service.batcher.wait_until_started(END_SECONDS)
        gate.close()
        late = client.post("/v1/predict", content=images()[0])
        assert late.status_code == 504
        assert "No answer within 0.2 s" in late.json()["error"]
        busy = client.post("/v1/predict", content=images()[0])  # the one before is still computed
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert "The server is busy: 1 image waiting" in busy.json()["error"]
        gate.opened.set()


def test_a_network_that_gives_no_numbers_is_told() -> None:
    model = tiny_model()
    served = serve(model)
    with client_of(served) as client:
        assert client.post("/v1/predict", content=images()[0]).status_code == 200
        model.model.fc.weight.data[:] = float("nan")  # type: ignore[attr-defined]
        answer = client.post("/v1/predict", content=images()[0])
        assert answer.status_code == 500
        assert "its weights are damaged" in answer.json()["error"]


def test_images_of_all_sizes_at_once(client: httpx.Client) -> None:
    """Phones turn images by EXIF; a large JPEG is decoded at a smaller scale, in the server as in the command."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.kron(tiny_checkpoint.colored_images(1)[0], np.ones((12, 12, 1), np.uint8))
    for content in (
        encode(pixels, "JPEG", exif=exif),
        encode(pixels[:, :, 0], "WEBP", quality=50),
        encode(pixels[:40, :30], "BMP"),
    ):
        assert_equal(client.post("/v1/predict", content=content).json(), expected(content))
