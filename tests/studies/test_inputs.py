"""The networks and images of a study, and files in akamaster's layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from tests.in_soak import only_in_soak
from tests.studies import known_images, known_trainings
from tests.weights.formats.test_custom_keymap import MAP, Network

from resnets.data.datasets import open_dataset
from resnets.data.split import lineage
from resnets.data.split.split_file import write_split
from resnets.errors import UserError
from resnets.studies import inputs
from resnets.weights.formats import custom_keymap


@pytest.mark.parametrize("depth", [20, pytest.param(56, marks=only_in_soak("1 s")), 110])
def test_a_file_in_akamasters_layout_is_read_at_every_depth(depth: int, tmp_path: Path) -> None:
    torch.manual_seed(depth)
    theirs = Network((depth - 2) // 6).eval()
    path = tmp_path / f"resnet{depth}.th"
    tensors = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": tensors, "best_prec1": 91.7}, path)
    (network,) = inputs.load_networks([path])
    assert network.name == f"cifar_resnet{depth}"
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.net(images), theirs(images))
    by_map = custom_keymap.read(MAP)
    assert (network.checkpoint.class_names, network.checkpoint.preprocess) == (by_map.class_names, by_map.preprocess)


def test_two_runs_of_one_network_are_told_apart_by_their_directories(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "weights").mkdir(parents=True)
        shutil.copyfile(known_images.checkpoint_file(), tmp_path / name / "weights" / "best.safetensors")
    networks = inputs.load_networks([tmp_path / "first", tmp_path / "second", known_images.checkpoint_file()])
    own = networks[0].checkpoint.spec.name
    file = known_images.checkpoint_file().name
    assert [each.name for each in networks] == [f"{own} (1: first)", f"{own} (2: second)", f"{own} (3: {file})"]


def test_each_image_counts_once_in_a_fixed_order(tmp_path: Path) -> None:
    data = tmp_path / "images"
    shutil.copytree(known_images.folder(), data)
    shutil.copyfile(data / "ant" / "0.png", data / "ant" / "copy.png")
    found = inputs.read_images(data, 1000, [])
    assert len(found) == 2 * known_images.COUNT
    few = inputs.read_images(data, 7, [])
    assert few.digest == inputs.read_images(known_images.folder(), 7, []).digest != found.digest
    assert few.labels.tolist() == [known_images.CLASSES.index(str(sample.label)) for sample in few.samples]


def test_images_to_train_on_are_told_apart_by_pixels_and_labels(tmp_path: Path) -> None:
    def digest(change: Callable[[Path], object] = lambda folder: None) -> str:
        data = tmp_path / str(len(list(tmp_path.iterdir())))
        for path in known_trainings.folder().rglob("*.png"):
            file = (data / path.relative_to(known_trainings.folder())).with_suffix(".webp")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).save(file, lossless=True)
        change(data)
        return inputs.read_training_images(data, 10).digest

    def invert(folder: Path) -> None:
        file = folder / "train" / "ant" / "3.webp"
        ImageOps.invert(Image.open(file).convert("RGB")).save(file, lossless=True)

    same = inputs.read_training_images(known_trainings.folder(), 10).digest
    assert digest() == same
    others = [
        digest(invert),
        digest(lambda folder: (folder / "test" / "ant" / "0.webp").rename(folder / "test" / "bee" / "0a.webp")),
        digest(lambda folder: (folder / "train" / "bee" / "2.webp").write_bytes(b"no image")),
    ]
    assert len({same, *others}) == 4


def run_of(folder: Path, fold: int, seed: int) -> Path:
    """The checkpoint of a run that was trained on all images of a folder but every fourth of each class, from `fold` on."""
    (folder / "weights").mkdir(parents=True)
    (folder / "recipe.toml").touch()
    dataset = open_dataset.read(known_images.folder())
    samples = tuple(
        replace(sample, split="val" if index % 4 == fold else "train")
        for index, sample in enumerate(lineage.with_sha256(dataset.samples))
    )
    write_split(folder / "split.csv", replace(dataset, samples=samples))
    shutil.copyfile(known_images.checkpoint_file(seed=seed), folder / "weights" / "best.safetensors")
    return folder


def test_networks_that_were_trained_on_different_images_share_those_that_none_was_trained_on(tmp_path: Path) -> None:
    files = [run_of(tmp_path / str(fold), fold, seed=fold) for fold in range(2)]
    alone = inputs.read_images(known_images.folder(), 1000, inputs.load_networks(files[:1]))
    assert len(alone) == known_images.COUNT // 2
    with pytest.raises(UserError, match=r"Each of the 120 images was used to train one of the models"):
        inputs.read_images(known_images.folder(), 1000, inputs.load_networks(files))
    same = run_of(tmp_path / "same", 0, seed=2)
    found = inputs.read_images(known_images.folder(), 1000, inputs.load_networks([files[0], same]))
    assert found.digest == alone.digest
    assert "not_trained_on" in found.origin
    trained = inputs.read_images(known_images.folder(), 1000, inputs.load_networks(files), trained_on=True)
    assert len(trained) == 90
    assert "split train" in trained.origin


def test_other_classes_are_refused(tmp_path: Path) -> None:
    shutil.copytree(known_images.folder() / "ant", tmp_path / "images" / "wasp")
    networks = inputs.load_networks([known_images.checkpoint_file()])
    with pytest.raises(UserError, match="has images of 'wasp'"):
        inputs.read_images(tmp_path / "images", 10, networks)
    digits = inputs.load_networks(["cifar_resnet20.cifar10"])
    with pytest.raises(UserError, match="has other classes than"):
        inputs.read_images(known_images.folder(), 10, [*networks, *digits])
    with pytest.raises(UserError, match="needs a classifier; 'fasterrcnn_light_tiny"):
        inputs.load_networks(["fasterrcnn_light_tiny.digit_scenes"])
