"""Build the recipe of a run from the arguments of `train`; `training/configuration/autoconfig.py` chooses what stays open."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from resnets.data.datasets import open_dataset
from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models import zoo
from resnets.recipes import registry as recipes
from resnets.recipes.override import assign, override
from resnets.recipes.recipe import Recipe, flat_values
from resnets.tasks import registry
from resnets.tasks.base import Task
from resnets.training import distributed
from resnets.training.configuration import machine_settings
from resnets.training.configuration.recipe_builder import RecipeBuilder
from resnets.training.setup import initial_weights
from resnets.training.setup.initial_weights import InitialWeights
from resnets.weights import download_published
from resnets.weights.hub import library_names

# Of `model`: published weights fit with any; the head is a new one.
SAME_TENSORS = ("drop_path_rate", "drop_path_by", "head_hidden_dim", "pool")

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


def given_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments of `train` or `lr_find` that set a key of the recipe and are not None.

    Raises:
        UserError: an argument that `train` does not have is in `arguments["other"]`.
    """
    for unknown in arguments["other"]:
        known = (*ARGUMENT_KEYS, "model", "weights", "task", "recipe", "out", "name", "resume", "overrides", "dry_run")
        raise UserError(f"train() has no argument '{unknown}'.{suggestion(unknown, known)}")
    return {key: arguments[key] for key in ARGUMENT_KEYS if arguments[key] is not None}


class RunRequest(NamedTuple):
    """A recipe with all values that the user gave, its task, and the weights that the run starts from."""

    builder: RecipeBuilder
    task: type[Task]
    initial: InitialWeights | None


def build_recipe(
    data: str,
    model: str | None,
    weights: object,
    recipe: str | Recipe | None,
    given: dict[str, Any],
    overrides: Sequence[str],
    task: str | None = None,
) -> RunRequest:
    """Return the recipe with all values that the user gave, each with its origin; published weights are downloaded."""
    device, _ = _pop_override("speed.device", given.get("device"), overrides)
    if device is not None:  # before anything is downloaded or read
        distributed.local_device(str(machine_settings.select_device(device).value))
    model, overrides = _pop_override("model.name", model, overrides)  # these three choose the recipe
    weights, overrides = _pop_override("model.weights", weights, overrides)
    task, overrides = _pop_override("task.name", task, overrides)
    if task is not None:
        registry.find(task)  # raises for an unknown one
    by_model = registry.of_model(model)
    network = by_model.backbone_name(model) if model is not None and by_model is not None else model
    weights = None if weights is None else library_names.translate_weights(weights, model)
    published_name, reason, unsuitable = None, "", ""
    if weights is None and recipe is None:
        unsuitable = _reason_unsuitable(data, network, given, overrides)
        if not unsuitable:
            published_name, reason = distributed.broadcast_from_main(
                lambda: download_published.download_best(network or "resnet18")
            )
    weights = weights or "none"
    chosen = recipe or ("scratch" if weights == "none" and published_name is None else "finetune")
    builder = RecipeBuilder(chosen if isinstance(chosen, Recipe) else recipes.find(chosen, network))
    builder.set("data.location", data, "given")
    if model is not None:
        # A recipe for detectors makes one of the name of a backbone.
        name = builder.recipe.model.name if isinstance(chosen, str) and by_model is None else None
        builder.set("model.name", name or model, "given: --model")
    if weights != "none":
        name = download_published.imagenet_to_name(weights, network or builder.recipe.model.name)
        builder.set("model.weights", name, "given: --weights" + ("" if name == weights else f" {weights}"))
        if model is None and chosen == "scratch":
            builder.set("model.name", None, "chosen: the network of the weights")
    elif published_name is not None:
        origin = "chosen: published ImageNet weights; `weights=none` starts from random weights"
        builder.set("model.weights", published_name, origin)
    elif reason:
        builder.set("model.weights", "none", f"chosen: random, since {reason}; {_remedy(reason)}")
    elif unsuitable:
        builder.set("model.weights", "none", f"chosen: random, since {unsuitable}")
    initial = initial_weights.read(builder.recipe.model.weights)
    if initial is not None and builder.recipe.model.name is None:
        builder.set("model.name", initial.checkpoint.spec.name, "chosen: the network of the weights")
    task_class = _set_task(builder, task, initial if weights != "none" else None)
    if reason and model is None and not task_class.model_prefixes:  # a classifier
        remedy = f"{_remedy(reason)}; `weights=cifar_resnet20.cifar10` takes those in the package, for few images of 32 pixels"
        builder.set("model.weights", "none", f"chosen: random, since {reason}; {remedy}")
    for key, value in given.items():
        builder.set(ARGUMENT_KEYS[key], str(value) if key == "freeze" else value, f"given: --{key.replace('_', '-')}")
    for assignment in overrides:
        _apply_override(builder, assignment)
    parent = None if initial is None else initial.checkpoint
    for key, (value, reason) in task_class.model_settings(builder.recipe.model.name or "", parent).items():
        builder.set_default(key, value, reason)
    return RunRequest(builder, task_class, initial)


def _set_task(builder: RecipeBuilder, requested: str | None, given_weights: InitialWeights | None) -> type[Task]:
    """Choose the task: the requested one, else that of the model's name, else that of the given weights, if the data fit it, else
    that of the data.

    The recipe gets the task's settings, with the values that a named recipe has for it.
    """
    recipe = builder.recipe
    if requested is None and recipe.task.name:
        requested = recipe.task.name  # of a recipe that was given as a value
    by_model = registry.of_model(recipe.model.name)
    by_data = registry.of_data(recipe.data.location) if requested is None and by_model is None else []
    if requested is not None:
        task, reason = registry.find(requested), ""
    elif by_model is not None:
        task, reason = by_model, "the name of the model"
    elif given_weights is not None and registry.find(given_weights.checkpoint.task) in by_data:
        task, reason = registry.find(given_weights.checkpoint.task), "the task of the weights"
    else:
        task, reason = by_data[0], "the layout of the data"
    others = [each.name for each in by_data if each is not task]
    if recipe.task.name != task.name:
        builder.recipe = replace(recipe, task=task.Config(name=task.name))
        for key, value in task.recipe_values.get(recipe.name, {}).items():
            builder.recipe = assign(builder.recipe, key, value)
    if requested is not None:
        builder.origins["task.name"] = "given: --task"
    elif others:
        also = ", ".join(f"`task={name}`" for name in others)
        builder.origins["task.name"] = f"chosen: {reason}; the data fit {also}, too"
    return task


def _remedy(reason: str) -> str:
    """Return what to do where no published weights could be taken."""
    remedy = "`weights=imagenet` tries again, `weights=FILE` takes a file"
    if reason.startswith("no ImageNet weights are published"):
        remedy = "`model=resnet18` has published ones"
    elif "OFFLINE is set" in reason:
        remedy = "unset it to download them; `weights=FILE` takes a file"
    return remedy


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

    def changes_tensors(assignment: str) -> bool:
        section, _, setting = assignment.partition("=")[0].strip().partition(".")
        return section == "model" and setting not in SAME_TENSORS

    changed = [f"stem={given['stem']}"] if "stem" in given else []
    changed += [item.strip() for item in overrides if changes_tensors(item)]
    return f"`{changed[0]}` makes a network for which there are no published weights" if changed else ""


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
