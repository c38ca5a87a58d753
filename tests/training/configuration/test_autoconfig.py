"""Open settings are chosen, and given values are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnets.recipes import registry
from resnets.recipes.recipe import flat_values
from resnets.tasks.detection.config import DetectionConfig
from resnets.training.configuration import autoconfig
from resnets.training.configuration.autoconfig import DatasetInfo
from resnets.training.configuration.recipe_builder import RecipeBuilder

FACTS = DatasetInfo(num_train=640, shorter_sides=(300, 200, 260), model_size=224)


def completed(**given: object) -> RecipeBuilder:
    builder = RecipeBuilder(registry.find("scratch", "resnet18"))
    builder.set("model.name", "resnet18", "given: --model")
    for key, value in given.items():
        builder.set(key.replace("__", "."), value, "given: --set")
    autoconfig.complete(builder, FACTS)
    return builder


def test_every_setting_is_chosen_with_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    builder = completed(speed__device="cpu")
    recipe = builder.recipe
    assert (recipe.data.imgsz, recipe.data.batch) == (224, 32)
    assert recipe.augment.crop == "random_resized"
    assert recipe.data.workers is not None
    assert "auto" not in (recipe.speed.precision, recipe.speed.device)
    autoconfig.log_choices(builder)
    lines = capsys.readouterr().err.splitlines()
    chosen = {key for key, origin in builder.origins.items() if origin.startswith("chosen")}
    assert {line.split()[0] for line in lines} == chosen
    assert all(line.endswith(")") and not line.endswith("()") for line in lines)


def test_settings_of_the_task_with_one_reason_take_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    builder = RecipeBuilder(replace(completed().recipe, task=DetectionConfig()))
    for key, reason in (("neck_channels", "as it"), ("candidates", "as it"), ("anchor_sizes", "small objects")):
        value = (8.0, 16.0, 32.0, 64.0, 128.0) if key == "anchor_sizes" else 96
        builder.set(f"task.{key}", value, f"chosen: {reason}")
    capsys.readouterr()
    autoconfig.log_choices(builder)
    assert capsys.readouterr().err.splitlines() == [
        "  task: as it",
        "  task.anchor_sizes = 8,16,32,64,128  (small objects)",
    ]


def test_given_values_are_kept() -> None:
    given = {"speed__device": "cpu", "speed__precision": "fp32", "data__workers": 5,
             "data__imgsz": 96, "data__batch": 10, "optim__lr": 0.25}  # fmt: skip
    builder = completed(**given)
    values = flat_values(builder.recipe)
    assert {key: values[key.replace("__", ".")] for key in given} == given


@pytest.mark.parametrize(
    ("freeze", "features", "rate"),
    [
        *[("backbone", 64, 2.7 / 64), ("backbone", 512, 2.7 / 512), ("4", 64, 2.7 / 64)],
        *[("none", 64, 0.9 / 64), ("none", 2048, 1e-3), ("0", 64, 0.9 / 64), ("3", 64, 0.9 / 64)],
    ],
)
def test_the_rate_for_a_new_head_on_trained_weights_follows_its_features(
    freeze: str, features: int, rate: float
) -> None:
    info = DatasetInfo(num_train=640, shorter_sides=(224,), model_size=224, num_features=features)
    for given in (None, 0.5):
        builder = RecipeBuilder(registry.find("finetune", "resnet18"))
        builder.set("model.name", "resnet18", "chosen: the network of the weights")
        builder.set("model.weights", "some.safetensors", "given: --weights")
        builder.set("freeze.layers", freeze, "given: --freeze")
        if given is not None:
            builder.set("optim.lr", given, "given: --lr")
        autoconfig.complete(builder, info)
        assert builder.recipe.data.batch == 32
        assert builder.recipe.optim.lr == pytest.approx(given or rate)


@pytest.mark.parametrize(("count", "batch"), [(640, 32), (200, 16), (58, 16), (10, 10)])
def test_a_small_folder_still_gives_batch_norm_enough_images(count: int, batch: int) -> None:
    builder = RecipeBuilder(registry.find("scratch", "resnet18"))
    autoconfig.complete(builder, DatasetInfo(num_train=count, shorter_sides=(224,), model_size=224))
    assert builder.recipe.data.batch == batch


def test_a_short_run_leaves_half_of_its_epochs_to_the_backbone() -> None:
    builder = RecipeBuilder(registry.find("finetune", "resnet18"))
    builder.set("stop.epochs", 2, "given: --epochs")
    autoconfig.complete(builder, DatasetInfo(num_train=640, shorter_sides=(224,), model_size=224))
    assert builder.recipe.freeze.head_epochs == 1


@pytest.mark.parametrize(
    ("shorter", "least", "said"),
    [
        (32, 32, "`imgsz=64` takes about 1/12"),
        (100, 32, "`imgsz=100` takes about 1/5"),
        (32, 8, "`imgsz=32` takes about 1/49"),
    ],
)
def test_small_images_are_enlarged_for_weights_of_large_ones_and_the_cost_is_logged(
    shorter: int, least: int, said: str
) -> None:
    builder = RecipeBuilder(registry.find("finetune", "resnet18"))
    info = DatasetInfo(num_train=640, shorter_sides=(shorter,), model_size=224, weights_size=224, min_size=least)
    autoconfig.complete(builder, info)
    assert builder.recipe.data.imgsz == 224
    assert f"have a shorter side of {shorter}: {said}" in builder.origins["data.imgsz"]
    usual = RecipeBuilder(registry.find("finetune", "resnet18"))
    autoconfig.complete(usual, replace(info, shorter_sides=(200,)))
    assert usual.origins["data.imgsz"].endswith("the size at which the weights were trained")
