"""Choose the network of a recipe, and check it against the image size, the batch size and the frozen layers."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.resnet import find_backbone
from resnets.models.spec import ResNetSpec
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.tasks import registry
from resnets.tasks.base import Task
from resnets.training import reproducibility
from resnets.training.optimization import freeze
from resnets.weights.checkpoint import Checkpoint


def requested_spec(recipe: Recipe, task: type[Task], parent: Checkpoint | None) -> ResNetSpec:
    """Return the specification of the recipe's residual network, for images of any size.

    Raises:
        UserError: the network or a setting does not exist, or the weights are of another network.
    """
    name = task.backbone_name(recipe.model.name or "")
    values = {key: value for key, value in vars(recipe.model).items() if key not in ("name", "weights")}
    changes: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    if parent is None:
        return zoo.get_spec(name, **changes)
    if name != parent.spec.name:
        raise UserError(
            f"The weights are of {parent.spec.name}; received `model={recipe.model.name}`. Leave `model` out."
        )
    return replace(parent.spec, **changes)


def meta_model(task: Task, spec: ResNetSpec) -> nn.Module:
    """Return the model on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return task.build(spec)


def fit_to_images(recipe: Recipe, spec: ResNetSpec) -> ResNetSpec:
    """Return the specification for the recipe's image size, which only some networks depend on."""
    return replace(spec, imgsz=recipe.data.imgsz or spec.imgsz) if spec.pool == "window" else spec


def check_model(recipe: Recipe, model: nn.Module, spec: ResNetSpec, world_size: int = 1) -> None:
    """Raise UserError where the images are too small, there are fewer stages than are to be frozen, or a batch norm in train mode
    would see a single value per channel, which has no variance.

    Args:
        model: on the meta device.
    """
    backbone = find_backbone(model)
    batch, side = recipe.data.batch or 1, recipe.data.imgsz or spec.imgsz
    if side < backbone.min_size:
        smaller = "" if "cifar" in spec.stem else "; or `stem=cifar`, which keeps the resolution"
        raise UserError(
            f"{spec.name} needs images of at least {backbone.min_size} pixels; received `imgsz={side}`{smaller}."
        )
    sizes = [len(indices) for indices in torch.arange(max(batch // world_size, 1)).chunk(recipe.optim.accumulate)]
    min_batch = min(sizes) * (world_size if recipe.speed.sync_bn else 1)
    model.train()
    freeze.apply(model, recipe.freeze)
    freeze.apply(model, recipe.freeze, epoch=recipe.freeze.head_epochs)
    if min_batch > 1:  # values per channel at least
        return  # torch's first forward pass on the meta device takes two seconds
    try:
        backbone(torch.empty(min_batch, spec.in_channels, side, side, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        accumulate = f", `optim.accumulate={recipe.optim.accumulate}`" if recipe.optim.accumulate > 1 else ""
        ranks = f" on {world_size} processes" if world_size > 1 else ""
        raise UserError(
            f"`batch={batch}`{accumulate}{ranks} leaves a single image in a step, and images of `imgsz={side}` a single value "
            f"per channel: batch norm needs more than one. Use a larger `batch`, or `freeze.norm=eval`."
        ) from None


def build_network(
    recipe: Recipe, task: Task, spec: ResNetSpec, parent: Checkpoint | None, *, has_state: bool = False
) -> nn.Module:
    """Return the model with random weights drawn with the recipe's seed, or adapted from those of `parent`, which is logged.

    With `has_state`, a saved state replaces the weights afterwards.
    """
    reproducibility.seed_everything(recipe.seed)
    model = task.build(spec)
    if parent is not None and not has_state:
        log(task.adapt(model, parent, meta_model(registry.of_checkpoint(parent), parent.spec)))
    return model
