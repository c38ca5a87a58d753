"""The recipes by name."""

from collections.abc import Callable

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.recipes import (
    cifar_fast,
    coco_fasterrcnn,
    finetune,
    he2015_cifar,
    he2015_coco,
    he2015_imagenet,
    linear_probe,
    notes_cifar,
    scratch,
    tutorial_transfer,
    yolov3_coco,
)
from resnets.recipes.recipe import Recipe

RECIPES: dict[str, Callable[[str | None], Recipe]] = {
    "scratch": scratch.recipe,
    "finetune": finetune.recipe,
    "linear_probe": linear_probe.recipe,
    "cifar_fast": cifar_fast.recipe,
    "he2015_cifar": he2015_cifar.recipe,
    "he2015_imagenet": he2015_imagenet.recipe,
    "tutorial_transfer": tutorial_transfer.recipe,
    "notes_cifar": notes_cifar.recipe,
    "he2015_coco": he2015_coco.recipe,
    "coco_fasterrcnn": coco_fasterrcnn.recipe,
    "yolov3_coco": yolov3_coco.recipe,
}


def find(name: str, model: str | None = None) -> Recipe:
    """The recipe of that name, for the network `model` (None: its own).

    Raises:
        UserError: there is no such recipe.
    """
    if name not in RECIPES:
        raise UserError(f"There is no recipe '{name}'.{suggestion(name, RECIPES)} There are: {', '.join(RECIPES)}.")
    return RECIPES[name](model)
