"""Checkpoints of segmenters: the same bytes after reading and writing, and the same logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import resnets
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.segmentation import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.prefixes import PREFIXES
from resnets.models.segmentation.segmenter import Segmenter
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.segmentation.checkpoint import network, segmenter_settings

NAMES = ("sky", "road", "car")


def saved(path: Path, name: str) -> Segmenter:
    torch.manual_seed(5)
    settings, spec = zoo.get(name)
    settings = dataclasses.replace(settings, aux=True)
    model = build_segmenter(settings, spec, len(NAMES))
    own = {"task": "segmentation", "config": dataclasses.asdict(settings)}
    checkpoints.save(path, Checkpoint(spec, Preprocess(size=(64, 64)), NAMES, model.state_dict(), **own))
    return model.eval()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_read_and_written_again_it_has_the_same_bytes(prefix: str, tmp_path: Path) -> None:
    expected = saved(tmp_path / "net.safetensors", f"{prefix}tiny")
    found = checkpoints.read(tmp_path / "net.safetensors", task="segmentation")
    checkpoints.save(tmp_path / "again.safetensors", found)
    assert (tmp_path / "net.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    model = network(found)
    assert segmenter_settings(found) == expected.settings
    x = torch.randn(1, 3, 31, 47)
    with torch.inference_mode():
        assert torch.equal(model(x), expected(x))
    checkpoints.save(tmp_path / "third.safetensors", dataclasses.replace(found, tensors=model.state_dict()))
    assert (tmp_path / "net.safetensors").read_bytes() == (tmp_path / "third.safetensors").read_bytes()


def test_weights_by_create_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = saved(tmp_path / "net.safetensors", "light_tiny")
    model = resnets.create_model("light_tiny", weights=tmp_path / "net.safetensors", num_classes=7)
    assert "new, untrained layers for 7 classes: head, aux_head.fc" in capsys.readouterr().err
    kept = expected.state_dict()
    own = model.state_dict()
    changed = {key for key, tensor in own.items() if tensor.shape != kept[key].shape}
    assert {key.rpartition(".")[0] for key in changed} == {"head", "aux_head.fc"}
    assert all(torch.equal(tensor, kept[key]) for key, tensor in own.items() if key not in changed)
    with pytest.raises(UserError, match="leave out output_stride"):
        resnets.create_model("light_tiny", weights=tmp_path / "net.safetensors", output_stride=4)
    with pytest.raises(UserError, match="are of tiny; 'light_cifar_resnet20' has the network cifar_resnet20"):
        resnets.create_model("light_cifar_resnet20", weights=tmp_path / "net.safetensors")


def test_the_weights_of_a_classifier_are_those_of_the_backbone(tmp_path: Path) -> None:
    net, path = networks.build("tiny", num_classes=4), tmp_path / "net.safetensors"
    spec = networks.get_spec("tiny", num_classes=4)
    checkpoints.save(path, Checkpoint(spec, Preprocess(size=(32, 32)), (), net.state_dict()))
    model = resnets.create_model("unet_tiny", weights=path, num_classes=2)
    assert model.training
    assert all(torch.equal(tensor, net.state_dict()[key]) for key, tensor in model.backbone.state_dict().items())


def test_tensors_of_another_segmenter_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "net.safetensors", "light_tiny")
    found = checkpoints.read(tmp_path / "net.safetensors", task=None)
    other = dataclasses.replace(found, config={**found.config, "architecture": "fcn", "decoder_channels": 128})
    with pytest.raises(UserError, match=r"does not fit its own spec; tensors missing: decoder\.conv"):
        network(other)
