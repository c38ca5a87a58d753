"""Headers and tensors with the names of format 1 are those of today after `upgrade`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.spec import ResNetSpec
from resnets.weights import checkpoint as checkpoints
from resnets.weights import header_format
from resnets.weights.checkpoint import Checkpoint

OLD_FIELDS = {new: old for old, new in header_format._RENAMED["spec"].items()}
OLD_VALUES = {"kaiming": "he", "xavier": "glorot"}


def old_header(spec: ResNetSpec) -> dict[str, Any]:
    fields = spec.to_dict() | {"initialization": OLD_VALUES[spec.initialization]}
    return {
        "format": 1,
        "task": "classify",
        "spec": {OLD_FIELDS.get(key, key): value for key, value in fields.items()},
        "preprocess": {"colour" if k == "color" else k: v for k, v in Preprocess.imagenet(32).to_dict().items()},
        "classes": [],
        "temperature": 1.0,
        "metrics": {"top1": 0.5, "classes": 3, "classes_with_images": 2, "selected": {"top1": 0.6, "classes": 3}},
        "provenance": {"licence": "mit"},
    }


def old_tensor_name(name: str) -> str:
    name = name.replace(".branch.attention.", ".branch.gate.")
    return f"stages.{name}" if name.startswith("stage") else name


@pytest.mark.parametrize("name", ["se_resnet18", "cbam_resnet18", "cifar_highway20", "keras_resnet50v2", "wrn_16_8"])
def test_a_header_of_format_1_gives_the_same_specification(name: str) -> None:
    spec = zoo.get_spec(name, num_classes=3, zero_pad_both_sides=True)
    header = header_format.upgrade(old_header(spec))
    assert ResNetSpec.from_dict(header["spec"]) == spec
    assert (header["class_names"], header["preprocess"]) == ([], Preprocess.imagenet(32).to_dict())
    assert header["metrics"] == {
        "top1": 0.5,
        "num_classes": 3,
        "num_classes_with_images": 2,
        "selected": {"top1": 0.6, "num_classes": 3},
    }
    assert header["provenance"] == {"license": "mit"}
    assert header_format.upgrade(header) == header


def test_a_file_of_format_2_with_the_earlier_key_of_the_class_names_is_read(tmp_path: Path) -> None:
    spec = zoo.get_spec("tiny", num_classes=2)
    tensors = build(spec).state_dict()
    header = {
        "format": 2,
        "task": "classify",
        "spec": spec.to_dict(),
        "preprocess": Preprocess.imagenet(32).to_dict(),
        "classes": ["cat", "dog"],
        "temperature": 1.0,
        "metrics": {"top1": 0.5},
        "provenance": {},
    }
    text = checkpoints._canonical({**header, "checksum": checkpoints._checksum(header, tensors)})
    safetensors.torch.save_file(tensors, tmp_path / "old.safetensors", metadata={header_format.KEY: text})
    found = checkpoints.read(tmp_path / "old.safetensors")
    assert isinstance(found, Checkpoint)
    assert found.class_names == ("cat", "dog")


@pytest.mark.parametrize("changes", [{"attention": "se"}, {"attention": "cbam", "drop_path_rate": 0.1}])
def test_a_file_of_format_1_with_attention_is_read(changes: dict[str, Any], tmp_path: Path) -> None:
    spec = zoo.get_spec("tiny", num_classes=3, **changes)
    tensors = build(spec).state_dict()
    header, old = old_header(spec), {old_tensor_name(name): tensor for name, tensor in tensors.items()}
    assert any(".branch.gate." in name for name in old)
    text = checkpoints._canonical({**header, "checksum": checkpoints._checksum(header, old)})
    safetensors.torch.save_file(old, tmp_path / "old.safetensors", metadata={header_format.KEY: text})
    found = checkpoints.read(tmp_path / "old.safetensors")
    assert isinstance(found, Checkpoint)
    assert found.spec == spec
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in checkpoints.network(found).state_dict().items())


def test_the_gate_of_a_highway_network_keeps_its_name() -> None:
    assert header_format.upgrade_tensor_name("stages.stage1.block2.gate.bias") == "stage1.block2.gate.bias"


def test_a_header_is_read_without_torch() -> None:
    code = (
        "import sys\nfrom resnets.weights.hub import bundled\n"
        "print(bundled.entries()['cifar_resnet20.cifar10'].num_classes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10", "False"]
