"""Where a name of weights leads, and what is said where it leads nowhere."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.weights import local_file


def test_a_folder_of_another_library_is_told_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="not one of a finished run"):
        local_file.find(tmp_path)
    (tmp_path / "config.json").touch()
    folder = tmp_path.rename(tmp_path.with_name("a user's model"))
    with pytest.raises(UserError) as caught:
        local_file.find(folder)
    command = str(caught.value).partition("Convert it: ")[2]
    assert shlex.split(command)[3:6] == [str(folder), "--to", "resnets"]


def test_what_is_made_of_a_checkpoint_is_beside_it_and_keeps_any_other_ending(tmp_path: Path) -> None:
    assert local_file.export_path(tmp_path / "model.safetensors", "_int8.onnx") == tmp_path / "model_int8.onnx"
    assert local_file.export_path(tmp_path / "model.ckpt", "_int8.onnx") == tmp_path / "model.ckpt_int8.onnx"
    assert local_file.export_path(local_file.find("cifar_resnet20.cifar10"), ".onnx") == Path(
        "cifar_resnet20.cifar10.onnx"
    )


def test_a_folder_of_runs_names_them(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "weights").mkdir(parents=True)
        (tmp_path / name / "weights" / "best.safetensors").touch()
    with pytest.raises(UserError, match="has several runs; name one of them: first, second"):
        local_file.find(tmp_path)


def test_a_config_beside_images_does_not_make_them_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert not local_file.is_weights(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").touch()
    with pytest.raises(UserError, match="is a folder of images"):
        local_file.find(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    assert local_file.is_weights(tmp_path)


def test_a_run_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    (tmp_path / "runs" / "first" / "weights").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "weights" / "best.safetensors").touch()
    with pytest.raises(UserError) as caught:
        local_file.find(tmp_path / "runs" / "nothing-like-it")
    assert str(caught.value).endswith(f"Trained runs: '{tmp_path / 'runs' / 'first'}'.")


def test_a_misspelled_name_of_weights_is_not_taken_for_a_network() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'fasterrcnn_light_tiny\.digit_scenes'\?$"):
        local_file.find("fasterrcnn_light_tiny.digit_scene")
    with pytest.raises(UserError, match="is the name of a network, not of trained weights"):
        local_file.find("fasterrcnn_light_tiny")


def test_a_name_on_a_server_is_that_of_the_run_or_of_the_file(tmp_path: Path) -> None:
    for name in (
        "runs/my flowers/weights/best.safetensors",
        "runs/my flowers/recipe.toml",
        "cats.v2.onnx",
        "cats.safetensors",
        "dogs/1/model.onnx",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = {
        "runs/my flowers": "my flowers",
        "runs/my flowers/weights/best.safetensors": "my flowers",
        "cats.v2.onnx": "cats.v2",
        "cats.safetensors": "cats",
        "dogs/1/model.onnx": "dogs",
    }
    assert {path: local_file.server_name(str(tmp_path / path)) for path in names} == names
    assert local_file.server_name("cifar_resnet20.cifar10") == "cifar_resnet20.cifar10"


def test_an_address_has_few_signs() -> None:
    assert local_file.as_address("my flowers/größe") == "my_flowers_gr__e"
    assert local_file.as_address("..") == "model"
