"""The examples that use a network as a part of other code, each run as a reader would."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import torch

import resnets
from resnets.weights import checkpoint


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.\d+", text)]


def test_torchvisions_detector_learns(example: Callable[..., str]) -> None:
    first, last = numbers(example("torchvision_detection.py", "--model", "tiny", "--steps", "10"))
    assert last < 0.8 * first


def test_a_pyramid_has_the_networks_strides(beside: None) -> None:
    module = importlib.import_module("torchvision_detection")
    maps = module.Pyramid("resnet18", out_channels=8)(torch.zeros(1, 3, 64, 96))
    assert [tuple(each.shape) for each in maps.values()] == [(1, 8, 64 // s, 96 // s) for s in (4, 8, 16, 32)]


def test_a_decoder_finds_the_discs(example: Callable[..., str]) -> None:
    assert numbers(example("segmentation_decoder.py", "--model", "tiny", "--steps", "25"))[0] > 0.6


def test_a_decoder_takes_images_of_any_size(beside: None) -> None:
    model = importlib.import_module("segmentation_decoder").UNet("resnet18", num_classes=3)
    assert model(torch.zeros(2, 3, 51, 70)).shape == (2, 3, 51, 70)


def test_two_views_learn_to_predict_each_other(beside: None) -> None:
    module = importlib.import_module("self_supervised")
    torch.manual_seed(0)
    model = module.SimSiam(resnets.create_model("tiny", num_classes=1)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    views = torch.rand(2, 8, 3, 32, 32)
    losses = []
    for _ in range(15):
        loss = module.loss_of(model, *views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < -0.25 < losses[0]


def test_self_supervision_gives_a_backbone_that_embeds(images: Path, example: Callable[..., str]) -> None:
    words = ("--model", "tiny", "--epochs", "4", "--batch", "6", "--out", images.parent / "own.safetensors")
    assert len(numbers(example("self_supervised.py", images, *words))) == 4
    result = resnets.embed(images.parent / "own.safetensors", images)
    assert result.index.vectors.shape == (12, 48)
    torch.manual_seed(0)  # as the example
    started = resnets.create_model("tiny", num_classes=1).state_dict()
    trained = checkpoint.read(images.parent / "own.safetensors").tensors
    assert trained.keys() == started.keys()  # without the heads of the training
    unchanged = {name for name, tensor in trained.items() if torch.equal(tensor, started[name])}
    assert unchanged == {"head.fc.weight", "head.fc.bias"}
    run = resnets.train(
        images, weights=str(images.parent / "own.safetensors"), epochs=1, device="cpu", name="tuned"
    ).run
    assert resnets.load(run).class_names == ("daisy", "rose", "tulip")


def test_a_plain_loop_learns(images: Path, example: Callable[..., str]) -> None:
    found = numbers(example("pytorch_loop.py", images, "--weights", "cifar_resnet20.cifar10", "--epochs", "4"))
    assert found[-1] > 0.8


def test_earlier_layers_have_smaller_learning_rates(beside: None) -> None:
    module = importlib.import_module("pytorch_loop")
    net = resnets.create_model("tiny")
    groups = module.layer_groups(net, lr=1.0, decay=0.5)
    assert [group["lr"] for group in groups] == [0.5**4, 0.5**3, 0.5**2, 0.5, 1.0]
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
