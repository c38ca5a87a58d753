"""The name of a model on a server."""

from __future__ import annotations

from pathlib import Path

from resnets.weights import server_name


def test_a_name_is_that_of_the_run_or_of_the_file(tmp_path: Path) -> None:
    for name in (
        "runs/my flowers/weights/best.safetensors",
        "runs/my flowers/recipe.toml",
        "cats.v2.onnx",
        "cats.safetensors",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = {
        "runs/my flowers": "my flowers",
        "runs/my flowers/weights/best.safetensors": "my flowers",
        "cats.v2.onnx": "cats.v2",
        "cats.safetensors": "cats",
    }
    assert {path: server_name.of_path(str(tmp_path / path)) for path in names} == names
    assert server_name.of_path("cifar_resnet20.cifar10") == "cifar_resnet20.cifar10"


def test_an_address_has_few_signs() -> None:
    assert server_name.as_address("my flowers/größe") == "my_flowers_gr__e"
    assert server_name.as_address("..") == "model"
