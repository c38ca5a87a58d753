"""Read the images and the initial weights of a run, and complete its recipe for them; all choices and warnings are logged."""

from __future__ import annotations

import math
from pathlib import Path

from resnets import ranks
from resnets.data.datasets import open_dataset, read_shards
from resnets.data.datasets.dataset import Dataset, IndexedSamples
from resnets.data.image.decode import DecodeError, inspect
from resnets.data.loading.thread_pool import ordered_map
from resnets.data.split import lineage
from resnets.data.split.lineage import Lineage
from resnets.errors import JobError, UserError
from resnets.message_format import pluralize
from resnets.models import zoo
from resnets.progress import log
from resnets.recipes.recipe import Recipe, total_steps
from resnets.training.configuration import autoconfig, conflicts
from resnets.training.configuration.autoconfig import SMALL_IMAGE_SIZE, DatasetInfo
from resnets.training.configuration.recipe_builder import RecipeBuilder
from resnets.training.optimization import freeze
from resnets.training.setup import build_network, split_dataset
from resnets.training.train_data import input_preprocess
from resnets.weights import find_weights
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.hub import catalog

SPLIT_NAMES = {"val": "validation", "test": "test"}
NUM_SIZE_SAMPLES = 200  # images whose headers are read for their sizes


def prepare_run(builder: RecipeBuilder) -> tuple[Dataset, Checkpoint | None]:
    """Complete the recipe of `builder` for its images and this machine.

    Returns:
        The checked dataset with its split, and the initial weights.
    """
    dataset = open_dataset.read(builder.recipe.data.location, on_inaccessible=builder.recipe.data.on_bad)
    parent = _read_parent(builder.recipe.model.weights)
    if parent is not None and builder.recipe.model.name is None:
        builder.set("model.name", parent.spec.name, "chosen: the network of the weights")
    conflicts.resolve_conflicts(builder)
    conflicts.check_dataset(
        builder, has_val="val" in dataset.splits, is_shards=isinstance(dataset.samples, IndexedSamples)
    )
    past = parent_lineage(builder.recipe, parent)
    split_keys = [f"data.{name}" for name in ("split_file", "val_fraction", "folds", "group_by", "split_seed")]
    dataset = split_dataset.split_dataset(
        dataset, builder.recipe, None if any(map(builder.is_given, split_keys)) else past.splits
    )
    log(split_dataset.describe_dataset(dataset))
    autoconfig.complete(builder, dataset_info(dataset, builder.recipe, parent))
    num_train, num_val = (len(dataset.subset(split)) if split in dataset.splits else 0 for split in ("train", "val"))
    conflicts.check_sizes(builder, num_train, num_val, ranks.world_size())
    log(f"{builder.recipe.model.name} on {builder.recipe.data.location}, recipe {builder.recipe.name}; chosen for you:")
    spec = build_network.network_spec(builder.recipe, dataset.class_names, parent)
    build_network.check_batch_norm(builder.recipe, spec, ranks.world_size())
    autoconfig.log_choices(builder)
    log_warnings(builder.recipe, dataset, parent)
    if parent is not None:
        _log_seen(past, dataset)
    return dataset, parent


def _read_parent(name: str) -> Checkpoint | None:
    """Return the initial weights; an error about published ones names the alternatives."""
    if name == "none":
        return None
    try:
        return find_weights.read(name)
    except (JobError, UserError) as error:
        if not catalog.known(name) or Path(name).exists():
            raise
        raise type(error)(
            f"{error} Without them: `weights=none`; with others on this machine: `weights=FILE`."
        ) from error


def parent_lineage(recipe: Recipe, parent: Checkpoint | None) -> Lineage:
    """Return which images the initial weights were trained on."""
    if parent is None:
        return Lineage()
    return lineage.lineage_of(find_weights.find_file(recipe.model.weights), parent.provenance)


def _log_seen(past: Lineage, dataset: Dataset) -> None:
    """Log whether the initial weights were trained on images of the val or test split."""
    for split in ("val", "test"):
        if split in dataset.splits and (
            notice := past.seen_message(dataset.subset(split), f"{SPLIT_NAMES[split]} images", "the initial weights")
        ):
            log(f"warning: {notice}" if past.count_seen(dataset.subset(split)) else notice)


def dataset_info(dataset: Dataset, recipe: Recipe, parent: Checkpoint | None) -> DatasetInfo:
    """Return what the choices of `configuration/autoconfig.py` depend on."""
    samples = dataset.subset("train")
    paths = (sample.path for sample in samples[:: max(len(samples) // NUM_SIZE_SAMPLES, 1)])
    sides = [side for side in ordered_map(_shorter_side, paths, workers=None, ahead=NUM_SIZE_SAMPLES) if side]
    spec = build_network.requested_spec(recipe, dataset.class_names, parent)
    net = build_network.meta_network(spec)
    return DatasetInfo(
        num_train=len(samples),
        shorter_sides=sides,
        model_size=spec.imgsz,
        min_size=max(
            net.min_size, *net.feature_strides.values()
        ),  # smaller images would leave a feature map of one position
        num_features=net.head.in_features,
        weights_size=None if parent is None else parent.preprocess.size[0],
        builtin_digits=recipe.data.location == "digits" and open_dataset.is_builtin(recipe.data.location),
    )


def _shorter_side(path: str) -> int | None:
    try:
        info = inspect(path)
    except DecodeError:  # reported when the images are checked
        return None
    return min(info.width, info.height)


def log_warnings(recipe: Recipe, dataset: Dataset, parent: Checkpoint | None) -> None:
    """Log warnings about settings that probably cost accuracy."""
    side = recipe.data.imgsz or 0
    shorter_side = input_preprocess(recipe, None if parent is None else parent.preprocess).shorter_side
    if notice := read_shards.upscale_warning(dataset, shorter_side):
        log(f"warning: {notice}, or take a smaller `imgsz`")
    stem = recipe.model.stem or zoo.find(recipe.model.name or "").spec.stem
    if side <= SMALL_IMAGE_SIZE and "cifar" not in str(stem) and recipe.model.weights == "none":
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


def describe_run(recipe: Recipe, dataset: Dataset) -> str:
    """Return the length of the run in steps and epochs."""
    train, val = len(dataset.subset("train")), len(dataset.subset("val")) if "val" in dataset.splits else 0
    steps = max(train // (recipe.data.batch or 1), 1)
    total = total_steps(recipe, steps)
    return (
        f"{len(dataset.class_names)} classes; {train} training and {val} validation images; {steps} steps an epoch, "
        f"{total} steps in {math.ceil(total / steps)} epochs; nothing was trained (`dry_run`)"
    )
