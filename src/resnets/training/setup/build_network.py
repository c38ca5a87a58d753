"""Build the network of a recipe, and check it against the image size, the batch size and the frozen layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.training import reproducibility
from resnets.training.optimization import freeze
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint


def network_spec(recipe: Recipe, classes: Sequence[str], parent: Checkpoint | None) -> ResNetSpec:
    """Return the specification of the recipe's network, checked against the image size and the frozen layers.

    Raises:
        UserError: the network or a setting does not exist, the weights are of another network, the images are too small.
    """
    spec = requested_spec(recipe, classes, parent)
    side = recipe.data.imgsz or spec.imgsz
    if spec.pool == "window":  # its last layer fits one image size
        spec = replace(spec, imgsz=side)
    net = meta_network(spec)
    if side < net.min_size:
        smaller = "" if "cifar" in spec.stem else "; or `stem=cifar`, which keeps the resolution"
        raise UserError(
            f"{spec.name} needs images of at least {net.min_size} pixels; received `imgsz={side}`{smaller}."
        )
    freeze.apply(net, recipe.freeze)
    return spec


def requested_spec(recipe: Recipe, classes: Sequence[str], parent: Checkpoint | None) -> ResNetSpec:
    if parent is None:
        return zoo.get_spec(recipe.model.name or "", num_classes=len(classes), **_spec_overrides(recipe))
    if recipe.model.name != parent.spec.name:
        raise UserError(
            f"The weights are of {parent.spec.name}; received `model={recipe.model.name}`. Leave `model` out."
        )
    return replace(parent.spec, num_classes=len(classes), **_spec_overrides(recipe))


def check_batch_norm(recipe: Recipe, spec: ResNetSpec, world_size: int = 1) -> None:
    """Raise UserError where a batch norm in train mode would see a single value per channel, which has no variance."""
    batch, side = recipe.data.batch or 1, recipe.data.imgsz or spec.imgsz
    sizes = [len(indices) for indices in torch.arange(max(batch // world_size, 1)).chunk(recipe.optim.accumulate)]
    min_batch = min(sizes) * (world_size if recipe.speed.sync_bn else 1)
    net = meta_network(spec).train()
    freeze.apply(net, recipe.freeze, epoch=recipe.freeze.head_epochs)
    try:
        net(torch.empty(min_batch, spec.in_channels, side, side, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        accumulate = f", `optim.accumulate={recipe.optim.accumulate}`" if recipe.optim.accumulate > 1 else ""
        ranks = f" on {world_size} processes" if world_size > 1 else ""
        raise UserError(
            f"`batch={batch}`{accumulate}{ranks} leaves a single image in a step, and images of `imgsz={side}` a single value "
            f"per channel: batch norm needs more than one. Use a larger `batch`, or `freeze.norm=eval`."
        ) from None


def meta_network(spec: ResNetSpec) -> ResNet:
    """Return the network on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return build(spec)


def _spec_overrides(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of the specification that the recipe changes."""
    values = {key: value for key, value in vars(recipe.model).items() if key not in ("name", "weights")}
    return {key: value for key, value in values.items() if value is not None}


def build_network(
    recipe: Recipe, classes: Sequence[str], parent: Checkpoint | None, *, log_head: bool = True
) -> tuple[ResNet, ResNetSpec]:
    """Return the network with random weights drawn with the recipe's seed, or with those of `parent`.

    `log_head`: log whether the head of `parent` is kept.
    """
    spec = network_spec(recipe, classes, parent)
    reproducibility.seed_everything(recipe.seed)
    net = build(spec)
    if parent is None:
        return net, spec
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    same_shapes = shapes == {n: t.shape for n, t in parent.tensors.items()}
    if tuple(classes) == parent.class_names and same_shapes:
        net.load_state_dict(checkpoints.network(parent).state_dict())
        message = "the weights have the same classes: their head is kept"
    else:
        new_tensors = checkpoints.load_backbone(net, parent)
        reason = "" if parent.class_names else "; the weights have no class names, so their head is not kept"
        message = f"new head for {len(classes)} classes: {', '.join(new_tensors)}{reason}"
    if log_head:
        log(message)
    return net, spec
