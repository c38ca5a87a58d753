"""A folder for transformers and timm whose ONNX file gives the probabilities of the checkpoint, in transformers.js as well."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from tests import tiny_checkpoint
from tests.tiny_checkpoint import NAMES, colored_images

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.errors import JobError, UserError
from resnets.export.certificate import proof_images
from resnets.hashing import sha256
from resnets.models import zoo
from resnets.weights import checkpoint as checkpoints
from resnets.weights.formats import fold_into_tensors

SIDE, SHORTER = 64, 72  # pixels; an even number of them is cropped

GUIDE = Path(__file__).parents[2] / "docs" / "ship.md"  # has the script


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint that transformers can express, for BGR images and with a temperature, and its folder."""
    root = tmp_path_factory.mktemp("hugging face")
    spec = replace(
        zoo.get_spec("resnet18"), stem_channels=8, num_blocks=(1, 1, 1, 1), out_channels=(8, 8, 16, 16), num_classes=4
    )
    mean, std = (103.9, 116.8, 123.7), (57.4, 57.1, 58.4)
    preprocess = Preprocess(size=(SIDE, SIDE), resize_to=SHORTER, color="bgr", scale=1.0, mean=mean, std=std)
    file = root / "model.safetensors"
    tiny_checkpoint.write(file, preprocess, spec=spec)
    certificate = resnets.export_model(file, root / "folder", format="huggingface")
    assert certificate.passed
    assert certificate.path == root / "folder" / "onnx" / "model.onnx"
    return file, root / "folder"


def images(folder: Path) -> list[Path]:
    """Images that need no resizing."""
    paths = []
    for number, (pixels, width) in enumerate(zip(colored_images(3), (SHORTER, 80, 90), strict=True)):
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).resize((width, SHORTER)).save(paths[-1])
    return paths


def test_the_onnx_file_is_the_network_of_transformers(written: tuple[Path, Path], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    file, folder = written
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["pixel_values"]
    assert [value.name for value in session.get_outputs()] == ["logits"]
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    paths = images(tmp_path)
    batch = np.concatenate([processor(Image.open(path), return_tensors="np")["pixel_values"] for path in paths])
    (logits,) = session.run(None, {"pixel_values": batch})
    net = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = net(torch.from_numpy(batch)).logits
    np.testing.assert_allclose(logits, expected, atol=1e-5 * float(expected.abs().max()))
    ours = resnets.load(file, "cpu").predict(paths)
    for row, prediction in zip(expected.softmax(1), ours, strict=True):
        assert float(row[NAMES.index(prediction.label)]) == pytest.approx(prediction.probability, abs=1e-5)


def test_the_onnx_file_is_a_checkpoint_as_well(written: tuple[Path, Path], tmp_path: Path) -> None:
    file, folder = written
    paths = images(tmp_path)
    found = resnets.load(folder / "onnx" / "model.onnx").predict(paths)
    for one, other in zip(found, resnets.load(file, "cpu").predict(paths), strict=True):
        assert dict(one.top) == pytest.approx(dict(other.top), abs=1e-5)


def test_transformers_js_gives_the_same_probabilities(written: tuple[Path, Path], tmp_path: Path) -> None:
    node, modules = shutil.which("node"), Path(os.environ.get("NODE_PATH", ""))
    if not node or not (modules / "@huggingface" / "transformers").is_dir():
        pytest.skip("needs node, and NODE_PATH, a folder node_modules with @huggingface/transformers")
    file, folder = written
    (script,) = re.findall(r"```javascript\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "classify.mjs").write_text(script)
    (tmp_path / "node_modules").symlink_to(modules)  # an import does not look at NODE_PATH
    (tmp_path / "for-the-web").symlink_to(folder)
    with Image.open(images(tmp_path)[1]) as image:
        image.save(tmp_path / "image.jpg")
    run = subprocess.run([node, "classify.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    scores = [float(score) for score in re.findall(r"score: ([\d.e-]+)", run.stdout)]
    (prediction,) = resnets.load(file, "cpu").predict(tmp_path / "image.jpg")
    assert scores == pytest.approx([probability for _, probability in prediction.top], abs=1e-4)


def test_the_certificate_is_of_the_onnx_file_and_sees_a_lost_temperature(
    written: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = written
    content = json.loads((folder / "onnx" / "model.onnx.certificate.json").read_text())
    assert content["sha256"] == {"model.onnx": sha256(folder / "onnx" / "model.onnx")}
    assert {each["runtime"] for each in content["runtimes"]} == {"onnxruntime", "openvino"}
    monkeypatch.setattr(fold_into_tensors, "with_temperature", lambda checkpoint: checkpoint)
    shutil.copytree(folder, tmp_path / "folder")
    before = {path: path.read_bytes() for path in (tmp_path / "folder").rglob("*.*")}
    with pytest.raises(JobError, match="is refused"):
        resnets.export_model(file, tmp_path / "folder", format="huggingface")
    assert {path: path.read_bytes() for path in (tmp_path / "folder").rglob("*.*")} == before
    refused = json.loads((tmp_path / "folder.refused" / "onnx" / "model.onnx.certificate.json").read_text())
    assert refused["verdict"] == "refused"


def test_a_checkpoint_that_is_replaced_during_the_export_is_refused(
    written: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a training that goes on; nothing of the folder is written."""
    file = shutil.copyfile(written[0], tmp_path / "model.safetensors")
    choose = proof_images.choose

    def replaced(*arguments: Any) -> proof_images.ProofImages:
        checkpoint = checkpoints.read(file)
        checkpoints.save(file, replace(checkpoint, provenance={**checkpoint.provenance, "recipe": "another"}))
        return choose(*arguments)

    monkeypatch.setattr(proof_images, "choose", replaced)
    with pytest.raises(UserError, match="was changed while it was read"):
        resnets.export_model(file, tmp_path / "folder", format="huggingface")
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_cannot_be_a_folder_of_a_library_is_refused(written: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    tiny_checkpoint.write(file)
    with pytest.raises(UserError, match="cannot compute what 'tiny' does"):
        resnets.export_model(file, tmp_path / "folder", format="huggingface")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="was not exported by resnets"):
        resnets.export_model(written[0], tmp_path / "mine", format="timm")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="has other files, such as"):
        resnets.export_model(written[0], tmp_path, format="timm")
    for name in ("preprocess", "heatmap"):
        with pytest.raises(UserError, match=f"`{name}` has no effect"):
            resnets.export_model(
                written[0], tmp_path / "a", format="timm", **{name: "none" if name[0] == "p" else True}
            )
