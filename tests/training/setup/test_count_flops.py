"""The cost of a training against the multiply-adds of its layers, and that of the recipe for CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from resnets.models import zoo
from resnets.recipes import registry
from resnets.recipes.recipe import Stop
from resnets.training.setup import count_flops


def counted(name: str, steps: int) -> float:
    recipe = registry.find(name)
    with torch.device("meta"):
        net = zoo.build("cifar_fast")
    found = count_flops.training_flops(replace(recipe, stop=Stop(steps=steps)), net, num_train=50_000, side=32)
    assert found is not None
    return found


def test_the_fast_recipe_costs_less_than_0_36_petaflop() -> None:
    recipe = registry.find("cifar_fast")
    assert recipe.stop.steps == 237
    total = counted("cifar_fast", 237)
    assert count_flops.format_flops(total) == "0.342 PFLOP by torch's flop counter"
    # Forward and backward six operations for each multiply-add; the stem has no gradient of images, and its filters are fixed.
    entry = zoo.entries()["cifar_fast"]
    of_layers = 6 * entry.multiply_adds * 2_000 * 237
    assert 0.98 * of_layers < total < of_layers + 237 * 12e9  # Newton-Schulz takes about 7 GFLOP a step


def test_twice_the_steps_cost_twice_as_much() -> None:
    assert counted("cifar_fast", 474) == pytest.approx(2 * counted("cifar_fast", 237))


def test_short_trainings_and_other_models_are_not_counted() -> None:
    recipe = registry.find("cifar_fast")
    with torch.device("meta"):
        net = zoo.build("cifar_fast")
    assert count_flops.training_flops(recipe, nn.Identity(), num_train=50_000, side=32) is None
    short = replace(recipe, stop=Stop(steps=1), data=replace(recipe.data, batch=2))
    assert count_flops.training_flops(short, net, num_train=50_000, side=32) is None
