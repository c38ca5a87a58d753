"""Published weights: downloaded from a mirror on this disk, converted once, cached."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resnets
from resnets.cli.main import main
from resnets.errors import UserError
from resnets.weights import checkpoint as checkpoints
from resnets.weights import download_published
from resnets.weights.hub import catalog, download, imagenet_classes
from resnets.weights.hub.catalog import PublishedWeights

Publish = Callable[..., PublishedWeights]


def images(side: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def same_logits(ours: torch.nn.Module, theirs: torch.nn.Module, batch: torch.Tensor) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(batch), theirs(batch), rtol=1e-4, atol=1e-4)


def test_a_name_becomes_a_checkpoint_that_says_what_it_is(publish: Publish, theirs: torch.nn.Module) -> None:
    entry = publish()
    found = download_published.read(entry.name)
    same_logits(checkpoints.network(found), theirs, images())
    assert found.class_names == imagenet_classes.NAMES
    assert found.preprocess == entry.preprocess()
    assert found.metrics["top1"] == 0.99
    assert found.metrics["protocol"] == "ImageNet validation, torchvision, 1-crop 224 of 256"
    assert found.provenance["published"] == entry.name
    assert found.provenance["parent_sha256"] == download.sha256(download.path_of(entry))
    assert found.provenance["license"] == "bsd-3-clause"


def test_it_is_converted_once_and_then_needs_neither_mirror_nor_network(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = download_published.checkpoint_file(publish().name)
    before = first.stat().st_mtime_ns
    assert "copying resnet10.tv_in1k_v9" in capsys.readouterr().err
    monkeypatch.delenv("RESNETS_MIRROR")
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    assert download_published.checkpoint_file("resnet10.tv_in1k_v9") == first
    assert first.stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""


def test_offline_and_not_here(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = publish()
    monkeypatch.delenv("RESNETS_MIRROR")
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    with pytest.raises(UserError, match="RESNETS_OFFLINE is set") as error:
        resnets.load(entry.name)
    assert str(download.path_of(entry)) in str(error.value)


def test_a_file_of_another_network_is_refused(publish: Publish, theirs: torch.nn.Module) -> None:
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    with pytest.raises(UserError, match=r"missing: fc\.weight, fc\.bias"):
        download_published.checkpoint_file(publish(state=state).name)
    assert not list(download.path_of(catalog.find("resnet10.tv_in1k_v9")).parent.glob("resnets-*"))


def test_weights_without_a_last_layer_get_a_new_one(
    publish: Publish, theirs: torch.nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    found = download_published.read(publish(state=state, num_classes=0).name)
    assert "new, untrained one for 1000 classes" in capsys.readouterr().err
    torch.testing.assert_close(found.tensors["stem.conv.weight"], theirs.state_dict()["conv1.weight"])


def test_half_precision_becomes_single(publish: Publish, theirs: torch.nn.Module) -> None:
    """As torchvision's wide_resnet50_2 of IMAGENET1K_V1 is published."""
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in theirs.state_dict().items()
    }
    found = download_published.read(publish(state=state).name)
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32, torch.int64}


def test_a_folder_of_hugging_face_has_its_class_names_and_preprocessing(publish: Publish, tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(2)
    sizes = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    theirs = ResNetForImageClassification(ResNetConfig(**sizes, num_labels=1000)).eval()
    names = [f"kind {i}" for i in range(1000)]
    entry = publish("resnet10.microsoft", dict(theirs.state_dict()), ".safetensors", format="huggingface", digest="")
    beside = tmp_path / "mirror" / "weights.invalid" / entry.name
    said = {"id2label": dict(enumerate(names)), "model_type": "resnet", **sizes}
    (beside / "config.json").write_text(json.dumps(said))
    look = {"size": 224, "crop_pct": 0.9, "resample": 3, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (beside / "preprocessor_config.json").write_text(json.dumps(look))
    found = download_published.read(entry.name)
    assert list(found.class_names) == names
    assert (found.preprocess.resize_to, found.preprocess.mean) == (248, (0.5, 0.4, 0.3))
    batch = images()
    with torch.inference_mode():
        torch.testing.assert_close(checkpoints.network(found).eval()(batch), theirs(batch).logits, rtol=1e-4, atol=1e-4)


def test_imagenet_is_the_best_and_says_which(publish: Publish, capsys: pytest.CaptureFixture[str]) -> None:
    entry = publish(overrides={}, megabytes=44.7)
    assert download_published.imagenet_to_name("imagenet", "resnet18") == entry.name
    said = capsys.readouterr().err
    assert said == (
        "ImageNet weights for resnet18: resnet10.tv_in1k_v9, top-1 99.0 % (torchvision, 1-crop 224 of 256), 45 MiB, "
        "from weights.invalid, license bsd-3-clause\n"
    )
    assert download_published.imagenet_to_name("imagenet", "resnet50_v2") == "resnetv2_50.a1h_in1k"
    shown = capsys.readouterr().err
    assert "with stride_at=3x3, stem_preact=True" in shown
    assert ", size unknown, " in shown
    assert download_published.imagenet_to_name("runs/first", None) == "runs/first"
    assert download_published.imagenet_to_name("DEFAULT", None) == "resnet10.tv_in1k_v9", (
        "the network that is trained where none is named"
    )


def test_training_begins_with_published_weights(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = {"num_blocks": (1, 1, 1, 1), "out_channels": (8, 16, 32, 64), "shortcut": "B"}
    entry = publish("resnet10a.test", model="resnet34_a", overrides=overrides)
    random = np.random.default_rng(0)
    for name in [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(8)]:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "data" / name)
    words = ["train", str(tmp_path / "data"), "--out", str(tmp_path / "runs"), "--epochs", "1"]
    words += ["--imgsz", "32", "--device", "cpu"]
    assert main([*words, "--model", "resnet34_a", "--weights", "imagenet", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert f"ImageNet weights for resnet34_a: {entry.name}, top-1 99.0 %" in said
    assert download.path_of(entry).is_file()
    assert "finetune" in said
    publish(model="resnet18", overrides={})
    assert main([*words, "--weights", "imagenet", "--dry-run"]) == 2  # the file is of another depth
    assert "ImageNet weights for resnet18: resnet10.tv_in1k_v9" in capsys.readouterr().err
    assert main([*words, "--weights", "resnet18.a9_in1k", "--dry-run"]) == 2
    assert "Did you mean 'resnet18.a" in capsys.readouterr().err


@pytest.fixture
def only(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> PublishedWeights:
    """The one set of weights that there is for resnet18, on the mirror."""
    entry = publish()
    for name, each in list(catalog.entries().items()):
        if each.model == "resnet18" and name != entry.name:
            monkeypatch.delitem(catalog.entries(), name)
    return entry


def test_the_best_weights_are_downloaded_or_already_here(
    only: PublishedWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert download_published.download_best("resnet18") == (only.name, "")
    monkeypatch.delenv("RESNETS_MIRROR")
    assert download_published.download_best("resnet18") == (only.name, ""), "nobody is asked"


def test_why_the_best_weights_cannot_be_had(only: PublishedWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.2)
    switched = "is set and the published ones are not on this machine"
    assert download_published.download_best("tiny") == (None, "no ImageNet weights are published for tiny")
    assert download_published.download_best("cifar_resnet20")[1] == (
        "no ImageNet weights are published for cifar_resnet20; "
        "`weights=cifar_resnet20.cifar10` takes those of the package"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the connection and never answers
        monkeypatch.setenv("RESNETS_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert download_published.download_best("resnet18") == (None, f"RESNETS_OFFLINE {switched}")
        monkeypatch.setenv("RESNETS_OFFLINE", "0")
        assert download_published.download_best("resnet18") == (None, "weights.invalid does not answer within 0.2 s")
    assert download_published.download_best("resnet18") == (None, "weights.invalid cannot be reached (ConnectionError)")
    monkeypatch.delenv("RESNETS_OFFLINE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download_published.download_best("resnet18") == (None, f"HF_HUB_OFFLINE {switched}")


def test_an_automatic_run_begins_from_published_weights(
    only: PublishedWeights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), number * 12, np.uint8)).save(file)
    assert resnets.train(tmp_path / "images", imgsz=32, dry_run=True) is None
    said = capsys.readouterr().err
    assert f"model.weights = {only.name}  (published ImageNet weights" in said
    assert resnets.train(tmp_path / "images", imgsz=32, weights="none", dry_run=True) is None
    assert "published" not in capsys.readouterr().err
