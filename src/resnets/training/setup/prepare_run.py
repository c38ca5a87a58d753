"""The way from a recipe to all that a run needs: images read and split, choices made for them, the network chosen."""

import math
from dataclasses import dataclass, replace

from torch import nn

from resnets import ranks
from resnets.data.datasets import read_shards
from resnets.data.datasets.dataset import Dataset, IndexedSamples
from resnets.data.image.decode import DecodeError, inspect
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.split.lineage import Lineage
from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.models.resnet import ResNet, find_backbone
from resnets.models.spec import ResNetSpec
from resnets.progress import log
from resnets.recipes.recipe import Recipe, total_steps
from resnets.tasks.base import Task
from resnets.training.configuration import autoconfig, conflicts
from resnets.training.configuration.autoconfig import SMALL_IMAGE_SIZE, DatasetInfo
from resnets.training.configuration.recipe_builder import RecipeBuilder
from resnets.training.optimization import freeze
from resnets.training.setup import build_network, count_flops, split_dataset
from resnets.training.setup.initial_weights import InitialWeights
from resnets.weights.checkpoint import Checkpoint

SPLIT_NAMES = {"val": "validation", "test": "test"}
NUM_SIZE_SAMPLES = 200  # images whose headers are read for their sizes


@dataclass(frozen=True)
class PreparedRun:
    """A complete recipe with its task, its images, the weights that it starts from, and the specification of its network."""

    recipe: Recipe
    task: Task
    dataset: Dataset
    initial: InitialWeights | None
    spec: ResNetSpec
    flops: float | None = None  # of all steps; see `count_flops`

    @property
    def parent(self) -> Checkpoint | None:
        return None if self.initial is None else self.initial.checkpoint


def prepare_run(builder: RecipeBuilder, task_class: type[Task], initial: InitialWeights | None) -> PreparedRun:
    """Read the images, complete the recipe of `builder` for them and this machine, and choose the network."""
    section = builder.recipe.data
    dataset = task_class.read(section.location, on_inaccessible=section.on_bad, config=builder.recipe.task)
    conflicts.resolve_conflicts(builder)
    conflicts.check_dataset(
        builder, has_val="val" in dataset.splits, is_shards=isinstance(dataset.samples, IndexedSamples)
    )
    warnings = task_class.check(dataset)
    past = Lineage() if initial is None else initial.lineage
    split_keys = [f"data.{name}" for name in ("split_file", "val_fraction", "folds", "group_by", "split_seed")]
    dataset = split_dataset.split_dataset(
        dataset, builder.recipe, None if any(map(builder.is_given, split_keys)) else past.splits
    )
    log(split_dataset.describe_dataset(dataset))
    parent = None if initial is None else initial.checkpoint
    for key, (value, reason) in task_class.plan(dataset, builder.recipe, parent).items():
        builder.set_default(key, value, reason)
    if builder.recipe.schedule.warmup_until_error is not None and not task_class.num_correct:
        raise UserError(f"`schedule.warmup_until_error` has no effect on the task {task_class.name}. Leave it out.")
    if builder.is_given("track.test_each_epoch") and "test" not in dataset.splits:
        raise UserError("`track.test_each_epoch` has no effect: these data have no test split. Leave it out.")
    task = task_class(dataset.class_names, builder.recipe.task)
    spec = build_network.requested_spec(builder.recipe, task_class, parent)
    model = build_network.meta_model(task, spec)
    autoconfig.complete(builder, dataset_info(dataset, spec, model, parent))
    num_train, num_val = (len(dataset.subset(split)) if split in dataset.splits else 0 for split in ("train", "val"))
    conflicts.check_sizes(builder, num_train, num_val, ranks.world_size())
    name = _full_name(builder, task_class, parent)
    log(f"{name} on {builder.recipe.data.location}, recipe {builder.recipe.name}; chosen for you:")
    prepared = finish_plan(builder.recipe, task, dataset, initial, spec, model)
    autoconfig.log_choices(builder)
    log_warnings(prepared)
    for warning in warnings:
        log(f"warning: {warning}")
    if parent is not None:
        _log_seen(past, dataset)
    return prepared


def _full_name(builder: RecipeBuilder, task_class: type[Task], parent: Checkpoint | None) -> str | None:
    """The name of the model with the prefix that the task chose, where the user named only its network."""
    name = builder.recipe.model.name
    chosen = task_class.model_settings(name or "", parent).get("model.name")
    return name if chosen is None or builder.is_given("task.architecture") else chosen.value


def finish_plan(
    recipe: Recipe, task: Task, dataset: Dataset, initial: InitialWeights | None, spec: ResNetSpec, model: nn.Module
) -> PreparedRun:
    """Fit the network of a complete recipe to the images, and check it; `model` is that of `spec` on the meta device."""
    fitted = build_network.fit_to_images(recipe, spec)
    if fitted != spec:
        model = build_network.meta_model(task, fitted)
    build_network.check_model(recipe, model, fitted, ranks.world_size())
    if isinstance(model, ResNet):
        fitted = replace(fitted, num_classes=task.num_outputs)
    num_train, side = len(dataset.subset("train")), recipe.data.imgsz or fitted.imgsz
    flops = count_flops.training_flops(recipe, model, num_train=num_train, side=side)
    return PreparedRun(recipe, task, dataset, initial, fitted, flops)


def resume_plan(
    recipe: Recipe, task_class: type[Task], dataset: Dataset, initial: InitialWeights | None
) -> PreparedRun:
    """As `prepare_run`, for the complete recipe of a run that is resumed."""
    task = task_class(dataset.class_names, recipe.task)
    spec = build_network.requested_spec(recipe, task_class, None if initial is None else initial.checkpoint)
    return finish_plan(recipe, task, dataset, initial, spec, build_network.meta_model(task, spec))


def _log_seen(past: Lineage, dataset: Dataset) -> None:
    """Log whether the initial weights were trained on images of the val or test split."""
    for split in ("val", "test"):
        if split in dataset.splits and (
            notice := past.seen_message(dataset.subset(split), f"{SPLIT_NAMES[split]} images", "the initial weights")
        ):
            log(f"warning: {notice}" if past.count_seen(dataset.subset(split)) else notice)


def dataset_info(dataset: Dataset, spec: ResNetSpec, model: nn.Module, parent: Checkpoint | None) -> DatasetInfo:
    """Return what the choices of `configuration/autoconfig.py` depend on; `model` is on the meta device."""
    samples = dataset.subset("train")
    paths = (sample.path for sample in samples[:: max(len(samples) // NUM_SIZE_SAMPLES, 1)])
    sides = [side for side in ordered_map(_shorter_side, paths, workers=None, ahead=NUM_SIZE_SAMPLES) if side]
    backbone = find_backbone(model)
    return DatasetInfo(
        num_train=len(samples),
        shorter_sides=sides,
        model_size=spec.imgsz,
        # Smaller images would leave a feature map of one position.
        min_size=max(backbone.min_size, *backbone.feature_strides.values()),
        num_features=model.head.in_features if isinstance(model, ResNet) else None,
        weights_size=None if parent is None else parent.preprocess.size[0],
    )


def _shorter_side(path: str) -> int | None:
    try:
        info = inspect(path)
    except DecodeError:  # reported when the images are checked
        return None
    return min(info.width, info.height)


def log_warnings(prepared: PreparedRun) -> None:
    """Log warnings about settings that probably cost accuracy."""
    recipe, parent = prepared.recipe, prepared.parent
    dataset, stem = prepared.dataset, prepared.spec.stem
    side = recipe.data.imgsz or 0
    shorter_side = prepared.task.preprocess(recipe, None if parent is None else parent.preprocess).shorter_side
    if notice := read_shards.upscale_warning(dataset, shorter_side):
        log(f"warning: {notice}, or take a smaller `imgsz`")
    if side <= SMALL_IMAGE_SIZE and stem not in ("cifar", "whiten") and recipe.model.weights == "none":
        log(
            f"warning: the 7x7 stem of {recipe.model.name} leaves {side // 4}x{side // 4} of an image of {side} pixels; "
            "`stem=cifar` keeps its detail"
        )
    if recipe.freeze.layers != "none" and recipe.model.weights == "none":
        layers = "backbone"
        if not freeze.recipe_freezes_backbone(recipe):
            stages = int(recipe.freeze.layers)
            layers = f"stem with the first {pluralize(stages, 'stage')}" if stages else "stem"
        log(f"warning: the {layers} is frozen at random weights; `weights` gives it trained ones")


def describe_run(prepared: PreparedRun) -> str:
    """Return the length of the run in steps and epochs, and its cost."""
    recipe, dataset = prepared.recipe, prepared.dataset
    train, val = len(dataset.subset("train")), len(dataset.subset("val")) if "val" in dataset.splits else 0
    steps = max(train // (recipe.data.batch or 1), 1)
    total = total_steps(recipe, steps)
    cost = "" if prepared.flops is None else f"{count_flops.format_flops(prepared.flops)}; "
    classes = f"{len(dataset.class_names)} classes; " if dataset.class_names else ""
    return (
        f"{classes}{train} training and {val} validation images; {steps} steps an epoch, "
        f"{pluralize(total, 'step')} in {pluralize(math.ceil(total / steps), 'epoch')}; {cost}nothing was trained (`dry_run`)"
    )
