"""What is written where: the file and its certificate, or what is refused; nothing else is replaced."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import exported_files, tiny_checkpoint
from torch import Tensor

import resnets
from resnets.cli.main import main
from resnets.errors import JobError, UserError
from resnets.export import export_file
from resnets.export.certificate import proof_images
from resnets.tasks import registry
from resnets.tasks.classification.task import Classification


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return shutil.copyfile(exported_files.checkpoint_file(), tmp_path / "model.safetensors")


def test_a_file_and_its_certificate_beside_the_checkpoint(checkpoint: Path) -> None:
    certificate = resnets.export_model(resnets.load(checkpoint, "cpu"), format="torch")
    path = checkpoint.with_name("model.pt2")
    assert certificate.path == path
    written = json.loads(path.with_name("model.pt2.certificate.json").read_text())
    assert written == certificate.to_dict()
    assert (written["verdict"], written["preprocess"], written["resnets_certificate"]) == ("passed", "normalize", 1)
    assert written["sha256"] == {"model.pt2": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert written["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert path.read_bytes() == exported_files.exported("torch").read_bytes()
    assert sorted(each.name for each in checkpoint.parent.iterdir()) == [
        "model.pt2", "model.pt2.certificate.json", "model.safetensors",
    ]  # fmt: skip


def refusal(checkpoint: Path, out: Path | None = None, **options: str) -> str:
    with pytest.raises(UserError) as error:
        resnets.export_model(checkpoint, out, **options)
    return str(error.value)


def test_only_exported_files_are_replaced(checkpoint: Path, tmp_path: Path) -> None:
    """Each is found before any work, and is left as it was."""
    for name, to in (("a.onnx", "onnx"), ("a.pt2", "torch"), ("b.pt2.refused", "torch")):
        path = tmp_path / name
        path.write_text("mine")
        out = path.with_name(name.removesuffix(".refused"))
        assert f"'{path}' exists and was not exported by resnets" in refusal(checkpoint, out, format=to)
        assert path.read_text() == "mine"
    folder = exported_files.copy("openvino", tmp_path / "folder")
    (folder / "notes.txt").write_text("mine")
    assert "folder' exists" in refusal(checkpoint, folder, format="openvino")
    (tmp_path / "b.onnx.certificate.json").write_text("{}")
    assert "was not written by resnets" in refusal(checkpoint, tmp_path / "b.onnx")
    exported_files.copy("torch", tmp_path / "c.pt2")
    resnets.export_model(checkpoint, tmp_path / "c.pt2", format="torch")
    assert (tmp_path / "c.pt2.certificate.json").is_file()


def test_wrong_arguments_are_one_line(checkpoint: Path, tmp_path: Path) -> None:
    assert "Did you mean 'onnx'?" in refusal(checkpoint, format="onx")
    assert "`preprocess` is one of" in refusal(checkpoint, preprocess="some")
    assert "ends in .onnx; received" in refusal(checkpoint, tmp_path / "a.pt2")
    assert "writes a folder" in refusal(checkpoint, tmp_path / "a.xml", format="openvino")
    assert "exported model" in refusal(exported_files.exported("onnx"))
    detector = "fasterrcnn_light_tiny.digit_scenes"
    assert refusal(detector).startswith(
        f"'{detector}': Two-stage detectors (Faster R-CNN, Mask R-CNN) are not exported"
    )
    for out in (".", "..", tmp_path / "a" / ".."):
        assert "`out` is the name of what is written" in refusal(checkpoint, out, format="openvino")


def test_a_model_that_was_changed_since_it_was_loaded_is_refused(checkpoint: Path) -> None:
    model = resnets.load(checkpoint, "cpu")
    original = model.preprocess, model.task
    for change in ("tensors", "preprocess", "fitted values"):
        model.preprocess, model.task = original
        if change == "tensors":
            first = next(model.model.parameters())
            first.data.add_(1)
        elif change == "preprocess":
            first.data.sub_(1)
            model.preprocess = model.preprocess.with_size(33)
        else:
            model.task = model.task.with_fitted({})
        with pytest.raises(UserError, match="was changed since it was loaded"):
            resnets.export_model(model, format="torch")


def test_a_checkpoint_that_is_replaced_during_the_export_is_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a training that goes on."""
    choose = proof_images.choose

    def replaced(*arguments: Any) -> proof_images.ProofImages:
        tiny_checkpoint.write(checkpoint, recipe="another")
        return choose(*arguments)

    monkeypatch.setattr(proof_images, "choose", replaced)
    assert "was changed while it was read" in refusal(checkpoint, format="torch")
    assert [each.name for each in checkpoint.parent.iterdir()] == ["model.safetensors"]


def test_a_file_is_written_before_its_certificate(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, contents: Any) -> None:
        raise JobError("the disk is full")

    monkeypatch.setattr(export_file, "write_contents", fails)
    with pytest.raises(JobError, match="the disk is full"):
        resnets.export_model(checkpoint, format="torch")
    assert [each.name for each in checkpoint.parent.iterdir()] == ["model.safetensors"]


class DependsOnTheBatch(Classification):
    """A task whose probabilities depend on the other images of a batch."""

    name = "depends_on_the_batch"

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits - logits.mean(0, keepdim=True), dim=1)


def test_what_is_refused_is_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(DependsOnTheBatch)
    tiny_checkpoint.write(tmp_path / "model.safetensors", task=DependsOnTheBatch(tiny_checkpoint.NAMES))
    earlier = exported_files.copy("torch", tmp_path / "model.pt2")
    assert main(["export", str(tmp_path / "model.safetensors"), "--format", "torch", "--json"]) == 1
    shown = capsys.readouterr()
    kept = tmp_path / "model.pt2.refused"
    assert f"refused and kept as '{kept}': torch" in shown.err
    assert "probabilities" in shown.err
    assert "(limit 0.001) in a batch of " in shown.err
    assert earlier.read_bytes() == exported_files.exported("torch").read_bytes()
    assert not (tmp_path / "model.pt2.certificate.json").exists()
    written = json.loads((tmp_path / "model.pt2.refused.certificate.json").read_text())
    assert json.loads(shown.out) == written
    assert written["verdict"] == "refused"
    assert written["sha256"] == {"model.pt2.refused": hashlib.sha256(kept.read_bytes()).hexdigest()}
