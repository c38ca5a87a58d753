from __future__ import annotations

import pytest

from resnets.errors import UserError
from resnets.recipes.override import assign, override
from resnets.recipes.recipe import Data, Recipe, flat_values


def test_an_override_is_read_as_the_type_of_its_key():
    recipe = Recipe()
    assert override(recipe, "optim.lr=0.2").optim.lr == 0.2
    assert override(recipe, "data.batch=16").data.batch == 16
    assert override(recipe, "data.batch=auto").data.batch is None
    assert override(recipe, "optim.nesterov=yes").optim.nesterov is True
    assert override(recipe, "augment.scale=0.5,1").augment.scale == (0.5, 1.0)
    assert override(recipe, "schedule.milestones_epochs=30,60").schedule.milestones_epochs == (30.0, 60.0)
    assert override(recipe, "schedule.milestones_steps=[32000, 48000]").schedule.milestones_steps == (32000, 48000)
    assert override(recipe, "seed=7").seed == 7


def test_an_override_leaves_the_recipe_that_it_was_given():
    recipe = Recipe()
    override(recipe, "optim.lr=0.2")
    assert recipe == Recipe()


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("optim.learning_rate=0.1", "no key 'optim.learning_rate'"),
        ("optim.momentun=0.9", "Did you mean 'optim.momentum'?"),
        ("momentum=0.9", "Did you mean 'optim.momentum'?"),
        ("optim.lr", "key=value"),
        ("optim.lr=-0.1", "optim.lr must be more than 0; received -0.1"),
        ("optim.lr=0", "more than 0"),
        ("optim.lr=nan", "finite"),
        ("optim.lr=inf", "finite"),
        ("optim.lr=fast", "optim.lr is a number; received 'fast'"),
        ("data.batch=2.5", "data.batch is a whole number; received '2.5'"),
        ("data.batch=0", "at least 1"),
        ("data.val_fraction=1.5", "at most 0.9"),
        ("augment.scale=0.5", "two numbers"),
        ("augment.flip=2", "at most 1"),
        ("optim.name=sdg", "Did you mean 'sgd'?"),
        ("optim.nesterov=perhaps", "true or false"),
        ("freeze.layers=head", "freeze.layers is 'none', 'backbone' or a number of stages"),
        ("seed=-1", "seed must be 0 or more"),
    ],
)
def test_a_wrong_override_is_one_helpful_line(assignment, words):
    with pytest.raises(UserError) as caught:
        override(Recipe(), assignment)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_keys_are_listed_where_none_is_near():
    with pytest.raises(UserError, match=r"no key 'zzz'\. The keys are: .*optim.lr, "):
        override(Recipe(), "zzz=1")
    with pytest.raises(UserError, match=r"Did you mean 'optim\.momentum'\?$"):
        override(Recipe(), "momentun=0.9")


def test_python_values_are_typed_as_well():
    assert assign(Recipe(), "optim.lr", 1).optim.lr == 1.0
    with pytest.raises(UserError, match="a whole number"):
        assign(Recipe(), "data.batch", 2.5)
    with pytest.raises(UserError, match="a whole number"):
        assign(Recipe(), "data.batch", "many")


def test_every_key_can_be_set_to_its_own_value():
    recipe = Recipe(data=Data(imgsz=32, batch=4))
    for key, value in flat_values(recipe).items():
        assert assign(recipe, key, value) == recipe
