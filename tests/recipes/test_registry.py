from __future__ import annotations

import importlib

import pytest

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.detection import zoo as detectors
from resnets.recipes import registry
from resnets.training.optimization.lr_schedule import build_curve, build_stem_curve


@pytest.mark.parametrize("name", list(registry.RECIPES))
def test_each_recipe_names_itself_its_command_and_a_network(name):
    recipe = registry.find(name)
    assert recipe.name == name
    module = importlib.import_module(f"resnets.recipes.{name}")
    assert "resnets train" in (module.__doc__ or "")
    if name not in ("finetune", "linear_probe"):  # which take the network of their weights
        zoo.find(detectors.backbone_name(recipe.model.name or ""))


def test_an_unknown_recipe_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'he2015_cifar'"):
        registry.find("he2015-cifar")


def test_the_cifar_recipe_of_2015_to_the_letter():
    recipe = registry.find("he2015_cifar")
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.momentum, recipe.optim.nesterov) == (
        "sgd",
        0.1,
        0.9,
        False,
    )
    assert (recipe.optim.weight_decay, recipe.optim.decay_norm_and_bias, recipe.data.batch) == (1e-4, True, 128)
    assert recipe.optim.lr_batch is None
    assert (recipe.augment.crop, recipe.augment.pad_pixels, recipe.augment.pad_mode) == ("pad", 4, "zeros")
    assert (recipe.augment.flip, recipe.data.imgsz, recipe.data.normalize) == (0.5, 32, "pixel")
    assert (recipe.stop.steps, recipe.ema.decay) == (64_000, 0)
    assert recipe.data.val_fraction == 0
    curve = build_curve(recipe.schedule, total_steps=64_000, steps_per_epoch=390)
    assert [curve(step) for step in (0, 31_999, 32_000, 48_000)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("model", "warms"),
    [("cifar_resnet20", False), ("cifar_resnet56", False), ("cifar_resnet110", True), ("cifar_resnet1202", True)],
)
def test_only_the_deepest_networks_warm_up(model, warms):
    schedule = registry.find("he2015_cifar", model).schedule
    assert schedule.warmup_until_error == (0.8 if warms else None)
    assert schedule.warmup_factor * 0.1 == pytest.approx(0.01)


def test_the_fast_recipe_ends_at_zero_and_its_stem_after_three_epochs():
    recipe = registry.find("cifar_fast")
    assert (recipe.data.batch, recipe.optim.accumulate, recipe.stop.epochs) == (2000, 4, None)
    assert (recipe.augment.pad_pixels, recipe.augment.pad_mode, recipe.augment.alternate_flip) == (2, "reflect", True)
    curve = build_curve(recipe.schedule, total_steps=200, steps_per_epoch=25)
    assert [curve(step) for step in (0, 50, 199, 200)] == pytest.approx([1, 0.75, 0.005, 0])
    of_stem = build_stem_curve(recipe.schedule, steps_per_epoch=25)
    assert [of_stem(step) for step in (0, 25, 75, 76)] == pytest.approx([1, 2 / 3, 0, 0])
    assert build_stem_curve(registry.find("scratch").schedule, steps_per_epoch=25) is None


def test_the_imagenet_recipe_of_2015_to_the_letter():
    recipe = registry.find("he2015_imagenet")
    assert (recipe.augment.crop, recipe.augment.shorter_side, recipe.data.imgsz) == ("shorter_side", (256, 480), 224)
    assert (recipe.data.batch, recipe.optim.lr, recipe.optim.weight_decay, recipe.optim.momentum) == (
        256,
        0.1,
        1e-4,
        0.9,
    )
    assert (recipe.schedule.plateau_factor, recipe.stop.steps) == (0.1, 600_000)
    assert (recipe.augment.pca_std, recipe.data.normalize, recipe.augment.flip) == (0.1, "pixel", 0.5)


def test_the_tutorial_to_the_letter():
    recipe = registry.find("tutorial_transfer")
    assert (recipe.model.name, recipe.model.head_hidden_dim, recipe.model.pool) == ("keras_resnet50", 512, "avg")
    assert recipe.freeze.layers == "backbone"
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == ("adam", 1e-3, 0)
    assert (recipe.data.imgsz, recipe.data.resize, recipe.data.batch, recipe.stop.epochs) == (180, "stretch", 32, 10)
    assert (recipe.data.val_fraction, recipe.data.split_seed) == (0.2, 123)
    assert (recipe.augment.crop, recipe.augment.flip, recipe.data.normalize) == ("none", 0, "raw")


def test_the_notes_have_the_rates_of_the_keras_example():
    recipe = registry.find("notes_cifar")
    curve = build_curve(recipe.schedule, total_steps=200, steps_per_epoch=1)
    rates = [recipe.optim.lr * curve(epoch) for epoch in (0, 80, 81, 121, 161, 181)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 0.5e-6])
    assert recipe.optim.name == "adam"
    assert recipe.schedule.plateau_factor == pytest.approx(0.1**0.5)
