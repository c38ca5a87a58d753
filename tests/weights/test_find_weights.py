"""What a path or name of weights leads to: a file on this machine first, then the catalog."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import resnets
from resnets.cli.main import main
from resnets.errors import JobError, UserError
from resnets.weights.hub import imagenet_classes
from resnets.weights.hub.catalog import PublishedWeights

Publish = Callable[..., PublishedWeights]


def test_load_and_predict_take_a_name(
    publish: Publish, tmp_path: Path, theirs: torch.nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = publish()
    values = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    image = tmp_path / "image.png"
    Image.fromarray(values).save(image)
    assert main(["predict", entry.name, str(image), "--top-k", "1", "--device", "cpu", "--jsonl", "-"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    transforms = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        wanted = theirs(transforms(Image.open(image)).unsqueeze(0)).softmax(1)[0]
    text = json.dumps(row)
    assert imagenet_classes.NAMES[int(wanted.argmax())] in text
    assert resnets.load(entry.name).name == entry.name


def test_names_that_are_not_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="weights list resnet50"):
        resnets.load("resnet50")
    with pytest.raises(UserError, match="weights list"):
        resnets.load("imagenet")


def test_a_local_file_precedes_the_catalog(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = publish()
    monkeypatch.chdir(tmp_path)
    Path(entry.name).write_text("mine")
    with pytest.raises(UserError, match="is a text file"):
        resnets.load(entry.name)


def test_a_changed_file_is_found_before_it_is_converted(publish: Publish) -> None:
    entry = publish(digest="sha256:00000000")
    with pytest.raises(JobError, match="and not 00000000"):
        resnets.load(entry.name)
