"""GET /v1/model: what a page and a program need to know of the model."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from starlette.testclient import TestClient
from tests import exported_files, tiny_checkpoint
from tests.serve.running import segmenter, serve

from resnets.hashing import sha256
from resnets.serve import application, served_model
from resnets.serve.settings import ServerSettings


def test_the_description(client: httpx.Client) -> None:
    found = client.get("/v1/model").json()
    assert found == {
        "name": "tiny",
        "task": "classification",
        "architecture": "tiny",
        "class_names": list(tiny_checkpoint.NAMES),
        "has_class_names": True,
        "input": {"description": "one view of 61x45", "height": 45, "width": 61},
        "heatmap": True,
        "metrics": {"top1": 0.5, "protocol": "50 images"},
        "sha256": None,
        "certificate": None,
        "models": ["tiny"],
        "limits": {"max_body_bytes": 20_000_000, "max_pixels": 89_478_485},
    }
    assert client.get("/v1/model?model=gone").status_code == 404


def test_a_file_has_its_hash_and_a_model_of_any_size_no_size() -> None:
    models = [
        served_model.load(str(exported_files.checkpoint_file()), "cpu", precision="fp32"),
        serve(segmenter(), "segmenter"),
    ]
    with TestClient(application.build(models, ServerSettings()), base_url="http://localhost") as client:
        assert client.get("/v1/model").json()["sha256"] == sha256(exported_files.checkpoint_file())
        found = client.get("/v1/model?model=segmenter").json()
        assert found["input"] == {"description": "one view at its own size", "height": None, "width": None}
        assert (found["heatmap"], found["task"], found["class_names"]) == (
            False,
            "segmentation",
            ["road", "car", "sky"],
        )


def test_a_certificate_is_found_beside_its_file_and_nothing_else_is_taken_for_one(tmp_path: Path) -> None:
    file = exported_files.copy("onnx", tmp_path / "cats.onnx")
    note = tmp_path / "cats.onnx.certificate.json"
    for text, expected in (
        ('{"verdict": "passed"}', {"verdict": "passed"}),
        ("[]", None),
        ("{", None),
        ('{"a": NaN}', None),
    ):
        note.write_text(text)
        served = served_model.load(str(file))
        assert served.certificate == expected
    assert served.name == "cats"
    assert served.sha256 == sha256(file)
    json.dumps(served.certificate)
