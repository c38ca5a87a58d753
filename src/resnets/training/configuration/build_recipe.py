"""Build the recipe of a run from the arguments of `train`; `training/configuration/autoconfig.py` chooses what stays open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnets.data.datasets import open_dataset
from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models import zoo
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.recipes.recipe import Recipe, flat_values
from resnets.training import distributed
from resnets.training.configuration import machine_settings
from resnets.training.configuration.recipe_builder import RecipeBuilder
from resnets.weights import download_published
from resnets.weights.hub import library_names

SAME_TENSORS = (
    "drop_path_rate",
    "head_hidden_dim",
    "pool",
)  # of `model`: published weights fit with any; the head is a new one

# Arguments of `train` -> keys of a recipe.
ARGUMENT_KEYS = {
    "epochs": "stop.epochs",
    "batch": "data.batch",
    "lr": "optim.lr",
    "imgsz": "data.imgsz",
    "workers": "data.workers",
    "device": "speed.device",
    "seed": "seed",
    "patience": "stop.patience_epochs",
    "freeze": "freeze.layers",
    "precision": "speed.precision",
    "deterministic": "speed.deterministic",
    "cache": "data.cache",
    "on_bad": "data.on_bad",
    "balance": "data.balance",
    "split_file": "data.split_file",
    "val_fraction": "data.val_fraction",
    "group_by": "data.group_by",
    "folds": "data.folds",
    "fold": "data.fold",
    "stem": "model.stem",
    "save_every": "save.every",
    "sync_bn": "speed.sync_bn",
    "track": "track.to",
}


def given_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not None; raise UserError for an argument that `train` does not have."""
    unknown = [key for key in values if key not in ARGUMENT_KEYS]
    if unknown:
        known = (*ARGUMENT_KEYS, "model", "weights", "recipe", "out", "name", "resume", "overrides", "dry_run")
        raise UserError(f"train() has no argument '{unknown[0]}'.{suggestion(unknown[0], known)}")
    return {key: value for key, value in values.items() if value is not None}


def build_recipe(
    data: str,
    model: str | None,
    weights: object,
    recipe: str | Recipe | None,
    given: dict[str, Any],
    overrides: Sequence[str],
) -> RecipeBuilder:
    """Return the recipe with all values that the user gave, each with its origin."""
    device, _ = _pop_override("speed.device", given.get("device"), overrides)
    if device is not None:  # before anything is downloaded or read
        distributed.local_device(str(machine_settings.select_device(device).value))
    model, overrides = _pop_override("model.name", model, overrides)  # these two choose the recipe
    weights, overrides = _pop_override("model.weights", weights, overrides)
    weights = None if weights is None else library_names.translate_weights(weights, model)
    published_name, reason, unsuitable = None, "", ""
    if weights is None and recipe is None:
        unsuitable = _reason_unsuitable(data, model, given, overrides)
        if not unsuitable:
            published_name, reason = distributed.broadcast_from_main(
                lambda: download_published.download_best(model or "resnet18")
            )
    weights = weights or "none"
    chosen = recipe or ("scratch" if weights == "none" and published_name is None else "finetune")
    builder = RecipeBuilder(chosen if isinstance(chosen, Recipe) else registry.find(chosen, model))
    builder.set("data.location", data, "given")
    if model is not None:
        builder.set("model.name", model, "given: --model")
    if weights != "none":
        name = download_published.imagenet_to_name(weights, builder.recipe.model.name)
        builder.set("model.weights", name, "given: --weights" + ("" if name == weights else f" {weights}"))
        if model is None and chosen == "scratch":
            builder.set("model.name", None, "chosen: the network of the weights")
    elif published_name is not None:
        builder.set(
            "model.weights",
            published_name,
            "chosen: published ImageNet weights; `weights=none` starts from random weights",
        )
    elif reason:
        remedy = "`weights=imagenet` tries again, `weights=FILE` takes a file"
        if reason.startswith("no ImageNet weights are published"):
            remedy = "`model=resnet18` has published ones"
        elif "OFFLINE is set" in reason:
            remedy = "unset it to download them; `weights=FILE` takes a file"
        if model is None:
            remedy += "; `weights=cifar_resnet20.cifar10` takes those in the package, for few images of 32 pixels"
        builder.set("model.weights", "none", f"chosen: random, since {reason}; {remedy}")
    elif unsuitable:
        builder.set("model.weights", "none", f"chosen: random, since {unsuitable}")
    for key, value in given.items():
        builder.set(ARGUMENT_KEYS[key], str(value) if key == "freeze" else value, f"given: --{key.replace('_', '-')}")
    for assignment in overrides:
        _apply_override(builder, assignment)
    return builder


def _reason_unsuitable(data: str, model: str | None, given: dict[str, Any], overrides: Sequence[str]) -> str:
    """Return why published weights do not suit the job, or an empty string: they are for large images of the user, and for a
    network as published.
    """
    if open_dataset.is_builtin(data):
        return f"'{data}' is built in"
    if model is not None and model not in zoo.entries():
        return f"there are no published weights of '{model}'"
    if zoo.get_spec(model or "resnet18").stem == "cifar":
        return f"{model} is for small images"
    changed = [f"stem={given['stem']}"] if "stem" in given else []
    changed += [item.strip() for item in overrides if _changes_tensors(item.partition("=")[0].strip())]
    return f"`{changed[0]}` makes a network for which there are no published weights" if changed else ""


def _changes_tensors(key: str) -> bool:
    return key.startswith("model.") and key.removeprefix("model.") not in SAME_TENSORS


def _pop_override(key: str, given: Any, overrides: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """Return the value of an argument that an override may give as well, and the other overrides."""
    match = next((item for item in overrides if item.partition("=")[0].strip() == key), None)
    if given is not None or match is None:
        return given, overrides
    return match.partition("=")[2].strip(), [item for item in overrides if item is not match]


def _apply_override(builder: RecipeBuilder, assignment: str) -> None:
    """Set `key=value`; raise UserError if the same key was given before with another value."""
    key = assignment.partition("=")[0].strip()
    before, builder.recipe = builder.recipe, override(builder.recipe, assignment)
    if builder.is_given(key) and builder.recipe != before:
        origin, was = builder.origins[key].removeprefix("given").removeprefix(": --"), flat_values(before)[key]
        earlier = f"`{origin.replace('-', '_')}={was}`" if origin not in ("", "set") else f"{key}={was}"
        raise UserError(f"`{assignment}` and {earlier} set the same value twice. Leave one of them out.")
    builder.origins[key] = "given: --set"
