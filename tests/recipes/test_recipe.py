from __future__ import annotations

import pytest
from tests.tiny_recipe import tiny

from resnets.errors import UserError
from resnets.recipes.override import override
from resnets.recipes.recipe import Augment, Optim, Recipe, Schedule, Track


def test_values_are_checked_when_a_recipe_is_written():
    with pytest.raises(UserError, match=r"optim\.weight_decay"):
        Optim(weight_decay=-1.0)
    with pytest.raises(UserError, match=r"augment\.crop is one of"):
        Augment(crop="middle")
    with pytest.raises(UserError, match="milestones_steps"):
        Schedule(milestones_steps=(0, 5))
    with pytest.raises(UserError, match=r"track\.to.*'tensorbord'.*'tensorboard'"):
        Track(to="mlflow,tensorbord")


def test_tiny_shrinks_steps_and_milestones_together():
    recipe = Recipe(schedule=Schedule(name="step", milestones_steps=(32_000, 48_000)))
    small = tiny(override(recipe, "stop.steps=64000"))
    assert small.stop.steps == 12
    assert small.schedule.milestones_steps == (4, 8)
    assert small.model.name == "tiny"
