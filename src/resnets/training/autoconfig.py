"""What a recipe leaves open, chosen from the images and the machine; each choice is printed with its reason.

A value that the user gave is never changed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resnets import ranks
from resnets.errors import UserError
from resnets.progress import log
from resnets.recipes.recipe import Recipe, assign, flat_values
from resnets.training import choose_device
from resnets.training.optimization import freeze

SMALL_IMAGE_SIZE = 64  # images up to this side are small: they are cropped from a padded image, and want a 3x3 stem
SMALL_BATCH, LARGE_BATCH = 64, 32
MIN_BATCH = 16  # chosen for a process: batch norm takes its statistics from these images alone
DEFAULT_LR = {"sgd": 0.04, "adam": 1e-3, "adamw": 1e-3}  # for a batch of LARGE_BATCH
# The rate for a new head on trained weights, times its number of features, for Adam and a batch of LARGE_BATCH: measured with
# 64 features on small folders (benchmarks/small_folders.py, docs/recipes.md). A step of Adam moves a logit by the rate
# times the sum of the features, so that wider backbones need less.
FROZEN_LR_FEATURES, FINETUNED_LR_FEATURES = 2.7, 0.9
MIN_STEPS_PER_EPOCH = 8  # in an epoch; a batch is halved until there are as many


@dataclass
class RecipeBuilder:
    """A recipe on its way to being complete, with the origin of each value that is not the recipe's own."""

    recipe: Recipe
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what loses its effect by what was given

    def is_given(self, key: str) -> bool:
        """Whether the user set this value."""
        return key in self.origins and not self.origins[key].startswith("chosen")

    def set(self, key: str, value: Any, origin: str) -> None:
        self.recipe = assign(self.recipe, key, value)
        self.origins[key] = origin

    def set_default(self, key: str, value: Any, reason: str) -> None:
        """Fill in a value for the user, unless he gave one."""
        if not self.is_given(key):
            self.set(key, value, f"chosen: {reason}")


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of the images and the network before the choices are made."""

    num_train: int
    shorter_sides: Sequence[int]  # of some training images, pixels
    model_size: int  # the side that the network is usually fed with
    min_size: int = 1  # that the network can take
    features: int | None = None  # that go into the last layer
    weights_size: int | None = None  # the side that the given weights were trained at
    builtin_digits: bool = False


def complete(builder: RecipeBuilder, facts: DatasetInfo) -> None:
    """Choose everything that is still open."""
    _choose_machine_settings(builder)
    _choose_image_settings(builder, facts)
    _choose_batch(builder, facts)
    _choose_lr(builder, facts)
    _choose_head_epochs(builder)


def log_choices(builder: RecipeBuilder) -> None:
    """Print what was chosen, and what the user set."""
    values = flat_values(builder.recipe)
    for key, origin in builder.origins.items():
        if origin.startswith("chosen"):
            log(f"  {key} = {_format_value(values[key])}  ({origin.removeprefix('chosen: ')})")
    for note in builder.notes:
        log(f"warning: {note}")


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choose_machine_settings(builder: RecipeBuilder) -> None:
    device = choose_device.select_device(builder.recipe.speed.device)
    if device.value != builder.recipe.speed.device:
        builder.set("speed.device", device.value, f"chosen: {device.reason}")
    precision = choose_device.select_precision(builder.recipe.speed.precision, str(device.value))
    if builder.recipe.speed.precision == "auto":
        builder.set("speed.precision", precision.value, f"chosen: {precision.reason}")
    if (
        threads := choose_device.select_threads(str(device.value))
    ) is not None and builder.recipe.speed.threads is None:
        builder.set_default("speed.threads", threads.value, threads.reason)
    if builder.recipe.data.workers is None:
        workers = choose_device.select_workers(str(device.value))
        builder.set_default("data.workers", workers.value, workers.reason)


def _choose_image_settings(builder: RecipeBuilder, facts: DatasetInfo) -> None:
    shorter = sorted(facts.shorter_sides)[len(facts.shorter_sides) // 2] if facts.shorter_sides else facts.model_size
    if builder.recipe.data.imgsz is None:
        builder.set_default("data.imgsz", *_image_size(shorter, facts))
    side = builder.recipe.data.imgsz or facts.model_size
    if shorter * builder.recipe.data.crop_fraction < side and builder.recipe.data.resize == "shorter":
        builder.set_default(
            "data.crop_fraction", 1.0, f"with a shorter side of {shorter} there is no border to cut off"
        )
    if builder.recipe.augment.crop == "auto":
        if side <= SMALL_IMAGE_SIZE:
            builder.set_default("augment.crop", "pad", f"usual at {side} pixels")
            for key in ("augment.jitter", "augment.erase"):
                builder.set_default(key, 0.0, "small images are varied as whole batches")
        else:
            builder.set_default("augment.crop", "random_resized", f"usual at {side} pixels")
    if builder.recipe.augment.crop == "pad" and builder.recipe.augment.pad_pixels is None:
        builder.set_default("augment.pad_pixels", max(side // 8, 1), "an eighth of the side, as on CIFAR")
    if facts.builtin_digits:
        builder.set_default("augment.flip", 0.0, "a mirrored digit is another sign")


def _image_size(shorter: int, facts: DatasetInfo) -> tuple[int, str]:
    if facts.weights_size is not None:
        return (
            facts.weights_size,
            f"the size at which the weights were trained{_smaller_size_hint(shorter, facts.weights_size, facts)}",
        )
    if shorter >= facts.model_size:
        return facts.model_size, "the network's own size"
    if shorter < facts.min_size:
        return facts.min_size, "the least that the network can take"
    side = shorter if shorter <= SMALL_IMAGE_SIZE else shorter // 32 * 32
    return max(side, facts.min_size), f"the shorter side of the images is {shorter}"


def _smaller_size_hint(shorter: int, side: int, facts: DatasetInfo) -> str:
    """What a smaller size than `side` would save, where the images are less than half as large; else empty.

    It is not chosen: what the weights make of larger objects than those that they were trained with is usually worse.
    """
    smaller = max(shorter, 2 * facts.min_size)  # so that the last map has more than one place
    if 2 * smaller > side:
        return ""
    return (
        f"; the images have a shorter side of {shorter}: `imgsz={smaller}` takes about 1/{round((side / smaller) ** 2)} of the "
        "computation, usually at a loss of accuracy"
    )


def check_batch_divisible(batch: int) -> None:
    """Raises UserError where the processes of the run cannot have equal shares of a batch."""
    if batch % ranks.world_size():
        raise UserError(f"data.batch is that of all processes: {batch} cannot be shared out to {ranks.world_size()}.")


def _choose_batch(builder: RecipeBuilder, facts: DatasetInfo) -> None:
    if builder.recipe.data.batch is not None:
        check_batch_divisible(builder.recipe.data.batch)
        return
    side = builder.recipe.data.imgsz or facts.model_size
    batch = usual = SMALL_BATCH if side <= SMALL_IMAGE_SIZE else LARGE_BATCH
    while batch > MIN_BATCH and facts.num_train // (batch * ranks.world_size()) < MIN_STEPS_PER_EPOCH:
        batch //= 2
    batch = max(min(batch, facts.num_train // ranks.world_size()), 1)
    few = f"there are only {facts.num_train} training images"
    reason = f"usual at {side} pixels" if batch == usual else few
    if (size := ranks.world_size()) > 1:
        reason = f"{batch} for each of {size} processes: {reason}"
    builder.set_default("data.batch", batch * size, reason)


def _choose_head_epochs(builder: RecipeBuilder) -> None:
    epochs, head = builder.recipe.stop.epochs, builder.recipe.freeze.head_epochs
    if epochs is not None and builder.recipe.stop.steps is None and 1 < epochs <= head:
        builder.set_default(
            "freeze.head_epochs", epochs // 2, "so that the backbone learns in the other half of the run"
        )


def _choose_lr(builder: RecipeBuilder, facts: DatasetInfo) -> None:
    if builder.is_given("optim.name") and not builder.is_given("optim.lr"):
        name = builder.recipe.optim.name
        builder.set_default("optim.lr_batch", LARGE_BATCH, "that of the rate")
        builder.set_default("optim.lr", DEFAULT_LR[name], f"usual for {name} and a batch of {LARGE_BATCH}")
    part, batch = builder.recipe.optim, builder.recipe.data.batch
    own = builder.is_given("optim.name") or builder.is_given("optim.lr")
    tuned = builder.recipe.model.weights != "none" and part.name != "sgd" and not own
    if tuned and facts.features and part.lr_batch is not None and batch is not None:
        frozen = freeze.recipe_freezes_backbone(builder.recipe)
        share = FROZEN_LR_FEATURES if frozen else FINETUNED_LR_FEATURES
        rate = max(share / facts.features, part.lr)
        scaled = rate * math.sqrt(batch / part.lr_batch)
        why = f"{rate:.2g} for {facts.features} features and a batch of {part.lr_batch}, scaled as a root"
        builder.set_default("optim.lr", scaled, why)
        return
    if part.lr_batch is None or batch is None or batch == part.lr_batch or builder.is_given("optim.lr"):
        return
    # Goyal et al. 2017 for SGD; for Adam the square root holds (Malladi et al. 2022).
    ratio = batch / part.lr_batch
    scaled, rule = (part.lr * ratio, "linearly") if part.name == "sgd" else (part.lr * math.sqrt(ratio), "as a root")
    builder.set_default("optim.lr", scaled, f"{part.lr:g} for a batch of {part.lr_batch}, scaled {rule}")
