"""Settings of a recipe that a task does not use."""

from collections.abc import Collection

from resnets.errors import UserError
from resnets.recipes.recipe import Augment, Recipe


def check_unused(recipe: Recipe, used: Collection[str], resizes: Collection[str]) -> None:
    """Raise UserError for settings of the augmentation and of resizing that have no effect on the task of the recipe.

    Args:
        used: the keys of `augment` that have one. `augment.crop` has none.
        resizes: the values of `data.resize` that the task accepts; "shorter", the default, is replaced by another one.
    """
    defaults, task = Augment(), recipe.task.name
    for key, value in vars(recipe.augment).items():
        is_default = value in ("auto", "none") if key == "crop" else value == getattr(defaults, key)
        if key not in used and not is_default:
            raise UserError(f"`augment.{key}={value}` has no effect on the task {task}. Leave it out.")
    if recipe.data.resize not in resizes:
        known = " or ".join(f"'{each}'" for each in resizes if each != "shorter")
        raise UserError(f"`data.resize={recipe.data.resize}` has no effect on the task {task}: it uses {known}.")
