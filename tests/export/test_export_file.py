"""What is written where: the file and its certificate, or what is refused; nothing else is replaced."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from tests import exported_files, tiny_checkpoint
from torch import Tensor

import resnets
from resnets.errors import JobError, UserError
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
    model = resnets.load(checkpoint, "cpu")
    next(model.model.parameters()).data.add_(1)
    with pytest.raises(UserError, match="was changed since it was loaded"):
        resnets.export_model(model, format="torch")


class DependsOnTheBatch(Classification):
    """A task whose probabilities depend on the other images of a batch."""

    name = "depends_on_the_batch"

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits - logits.mean(0, keepdim=True), dim=1)


def test_what_is_refused_is_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register(DependsOnTheBatch)
    tiny_checkpoint.write(tmp_path / "model.safetensors", task=DependsOnTheBatch(tiny_checkpoint.NAMES))
    earlier = exported_files.copy("torch", tmp_path / "model.pt2")
    with pytest.raises(JobError) as error:
        resnets.export_model(tmp_path / "model.safetensors", format="torch")
    kept = tmp_path / "model.pt2.refused"
    assert f"refused and kept as '{kept}': torch" in str(error.value)
    assert "probabilities" in str(error.value)
    assert "(limit 0.001) in a batch of " in str(error.value)
    assert earlier.read_bytes() == exported_files.exported("torch").read_bytes()
    assert not (tmp_path / "model.pt2.certificate.json").exists()
    written = json.loads((tmp_path / "model.pt2.refused.certificate.json").read_text())
    assert written["verdict"] == "refused"
    assert written["sha256"] == {"model.pt2.refused": hashlib.sha256(kept.read_bytes()).hexdigest()}
