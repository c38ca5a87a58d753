"""The proof that two files compute the same, and that it fails when they do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision as torchvision_library
from PIL import Image
from tests.in_soak import IN_SOAK, only_in_soak
from tests.weights.narrow_resnet import NarrowResNet

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.weights import checkpoint as checkpoints
from resnets.weights.conversion import convert
from resnets.weights.load_weights import Request
from resnets.weights.verification import _image_files, verify


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r18.pth"
    torch.save(torchvision_library.models.resnet18(num_classes=7).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that only resnets runs."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "narrow.pth"
    torch.save(NarrowResNet(num_classes=7).state_dict(), path)
    return path


def test_every_format_is_run_by_its_own_library(file: Path, tmp_path: Path) -> None:
    names = {"timm": "t.safetensors", "huggingface": "hf"}
    if IN_SOAK:
        names |= {"resnets": "o.safetensors", "torchvision": "b.pth"}
    for to, name in names.items():
        convert(file, to=to, out=tmp_path / name)
        found = verify(file, tmp_path / name, imgsz=64)
        assert found.within()
        libraries = " ".join(f"{each.first} {each.second}" for each in found.comparisons)
        assert "r18.pth by torchvision" in libraries
        if to != "resnets":
            library = {"huggingface": "transformers"}.get(to, to)
            assert f"{name} by {library}" in libraries
        assert all(each.agreement == 1 and each.images == 8 for each in found.comparisons)


def test_a_changed_weight_is_found(narrow: Path, tmp_path: Path) -> None:
    state = torch.load(narrow, weights_only=True)
    state["layer3.0.conv1.weight"] *= 1.5
    torch.save(state, tmp_path / "other.pth")
    found = verify(narrow, tmp_path / "other.pth", imgsz=64)
    assert not found.within()
    assert max(each.relative for each in found.comparisons) > 1e-3
    state["fc.bias"][0] = float("nan")
    torch.save(state, tmp_path / "other.pth")
    assert not verify(narrow, tmp_path / "other.pth", imgsz=64).within(1e9)


@only_in_soak("10 s, and tests/contracts/test_weights.py compares both")
def test_v1_and_v15_of_one_file_differ(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision_library.models.resnet50(num_classes=3).state_dict(), tmp_path / "r.pth")
    convert(tmp_path / "r.pth", to="resnets", out=tmp_path / "v1.safetensors", request=Request(model="resnet50_v1"))
    found = verify(tmp_path / "r.pth", tmp_path / "v1.safetensors", request=Request(model="resnet50"), imgsz=64)
    own, other = found.comparisons
    assert own.relative < 1e-4 < 1e-2 < other.relative
    with pytest.raises(UserError, match="`model='resnet50'`"):
        verify(tmp_path / "r.pth", tmp_path / "v1.safetensors")
    with_note = verify(tmp_path / "r.pth", tmp_path / "v1.safetensors", request=Request(model="resnet50_v1"), imgsz=64)
    assert with_note.within()
    assert "torchvision's own network was not run" in with_note.notes[0]


def test_images_are_preprocessed_as_in_the_first_file(narrow: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "photos" / "a").mkdir(parents=True)
    for name in ("a/1.png", "a/2.png", "3.png"):
        Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "photos" / name)
    convert(narrow, to="resnets", out=tmp_path / "o.safetensors")
    found = verify(narrow, tmp_path / "o.safetensors", images=[str(tmp_path / "photos")], imgsz=64)
    assert found.within()
    assert found.comparisons[0].images == 3
    preprocess = checkpoints.read(tmp_path / "o.safetensors").preprocess.with_size(64)
    image = preprocess.load(tmp_path / "photos" / "3.png")
    assert image.shape == (3, 64, 64)
    with pytest.raises(UserError, match="no folder"):
        verify(narrow, narrow, images=[str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images"):
        verify(narrow, narrow, images=[str(tmp_path / "empty")])


def test_networks_of_different_tasks_are_not_compared(narrow: Path, tmp_path: Path) -> None:
    convert(narrow, to="resnets", out=tmp_path / "o.safetensors", request=Request(num_classes=3))
    with pytest.raises(UserError, match="3 channels, 7 classes and 3 channels, 3 classes"):
        verify(narrow, tmp_path / "o.safetensors")


def test_a_temperature_that_was_left_out_is_found(file: Path, tmp_path: Path) -> None:
    convert(file, to="resnets", out=tmp_path / "o.safetensors")
    checkpoint = replace(
        checkpoints.read(tmp_path / "o.safetensors"), fitted={"temperature": 0.4}, preprocess=Preprocess.imagenet(64)
    )
    checkpoints.save(tmp_path / "o.safetensors", checkpoint)
    found = verify(tmp_path / "o.safetensors", file)
    assert not found.within()
    assert max(each.difference for each in found.comparisons) > 0.01
    assert any("has no preprocessing: that of the other file" in note for note in found.notes)
    convert(tmp_path / "o.safetensors", to="torchvision", out=tmp_path / "folded.pth")
    assert verify(tmp_path / "o.safetensors", tmp_path / "folded.pth").within()


def test_another_preprocessing_beside_the_same_tensors_is_found(file: Path, tmp_path: Path) -> None:
    convert(file, to="resnets", out=tmp_path / "o.safetensors")
    checkpoint = replace(
        checkpoints.read(tmp_path / "o.safetensors"), preprocess=Preprocess.imagenet(64), fitted={"temperature": 0.2}
    )
    checkpoints.save(tmp_path / "o.safetensors", checkpoint)
    convert(tmp_path / "o.safetensors", to="timm", out=tmp_path / "timm")
    assert verify(tmp_path / "o.safetensors", tmp_path / "timm").within()
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [2.0, -1.0, 0.0]}
    (tmp_path / "timm" / "config.json").write_text(json.dumps(config))
    found = verify(tmp_path / "o.safetensors", tmp_path / "timm")
    assert not found.within()
    assert any("with its own preprocessing" in each.second for each in found.comparisons)


def test_a_known_difference_of_the_preprocessing_is_told_apart_from_that_of_the_networks(
    narrow: Path, tmp_path: Path
) -> None:
    convert(narrow, to="resnets", out=tmp_path / "o.safetensors")
    # Three rows and columns are cut off, by transformers others than by us.
    preprocess = replace(Preprocess.imagenet(64), resize_to=67)
    checkpoint = replace(
        checkpoints.read(tmp_path / "o.safetensors"), preprocess=preprocess, fitted={"temperature": 0.3}
    )
    checkpoints.save(tmp_path / "o.safetensors", checkpoint)
    convert(tmp_path / "o.safetensors", to="huggingface", out=tmp_path / "hf")
    found = verify(tmp_path / "o.safetensors", tmp_path / "hf")
    _, network, path = found.comparisons
    assert network.same_input
    assert network.relative < 1e-4
    assert not path.same_input
    assert "transformers crops every image up to one pixel" in str(path)
    assert path.difference > 0.01
    assert path.unexplained is not None
    assert path.unexplained < 0.01
    assert found.within()
    assert not replace(path, unexplained=None).within()
    assert "the networks differ: a logit by" in replace(network, relative=0.5).excess()
    # What is wrong beside the known difference is found, however near its answers are.
    config = json.loads((tmp_path / "hf" / "preprocessor_config.json").read_text())
    config["image_mean"], config["image_std"] = config["image_mean"][::-1], config["image_std"][::-1]
    (tmp_path / "hf" / "preprocessor_config.json").write_text(json.dumps(config))
    found = verify(tmp_path / "o.safetensors", tmp_path / "hf")
    assert not found.within()
    assert "the preprocessing differs" in " ".join(each.excess() for each in found.comparisons)


def test_hidden_files_are_no_images_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "a/._1.png", ".hidden.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    with _image_files([str(tmp_path)], 32) as files:
        assert files == [tmp_path / "2.png", tmp_path / "a" / "1.png"]
