"""Choose the settings that a recipe leaves open from the images and the machine; each choice is logged with its reason.

A value that the user gave is never changed here.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from resnets import ranks
from resnets.errors import UserError
from resnets.progress import log
from resnets.recipes.recipe import flat_values
from resnets.training import precision
from resnets.training.configuration import machine_settings
from resnets.training.configuration.recipe_builder import RecipeBuilder, format_value
from resnets.training.optimization import freeze

SMALL_IMAGE_SIZE = 64  # pixels; images up to this size are cropped from a padded image and need a 3x3 stem
SMALL_BATCH, LARGE_BATCH = 64, 32
MIN_BATCH = 16  # per rank: batch norm takes its statistics from these images alone
DEFAULT_LR = {"sgd": 0.04, "adam": 1e-3, "adamw": 1e-3}  # for a batch of LARGE_BATCH
# The learning rate of a new head on trained weights, times its number of features, for Adam and a batch of LARGE_BATCH:
# measured with 64 features on small folders (benchmarks/small_folders.py, docs/recipes.md). A step of Adam moves a logit by
# the learning rate times the sum of the features, so that wider backbones need a smaller one.
FROZEN_LR_FEATURES, FINETUNED_LR_FEATURES = 2.7, 0.9
MIN_STEPS_PER_EPOCH = 8  # the batch size is halved until an epoch has as many steps


@dataclass(frozen=True)
class DatasetInfo:
    """The properties of the images and the network that the choices depend on."""

    num_train: int
    shorter_sides: Sequence[int]  # of some training images, pixels
    model_size: int  # side of the images that the network is made for
    min_size: int = 1  # smallest side that the network accepts
    num_features: int | None = None  # inputs of the last layer
    weights_size: int | None = None  # side of the images that the given weights were trained with


def complete(builder: RecipeBuilder, info: DatasetInfo) -> None:
    """Choose all settings that are still open."""
    _choose_machine_settings(builder)
    _choose_image_settings(builder, info)
    _choose_batch(builder, info)
    _choose_lr(builder, info)
    _choose_head_epochs(builder)


def log_choices(builder: RecipeBuilder) -> None:
    """Log the chosen settings with their reasons, and the warnings; settings of the task with one reason take one line."""
    values = flat_values(builder.recipe)
    of_task = Counter(origin for key, origin in builder.origins.items() if key.startswith("task."))
    for key, origin in builder.origins.items():
        if not origin.startswith("chosen"):
            continue
        reason = origin.removeprefix("chosen: ")
        if not key.startswith("task.") or of_task[origin] == 1:
            log(f"  {key} = {format_value(values[key])}  ({reason})")
        elif of_task.pop(origin, 0):
            log(f"  task: {reason}")
    for warning in builder.warnings:
        log(f"warning: {warning}")


def _choose_machine_settings(builder: RecipeBuilder) -> None:
    device = machine_settings.select_device(builder.recipe.speed.device)
    if device.value != builder.recipe.speed.device:
        builder.set("speed.device", device.value, f"chosen: {device.reason}")
    chosen_precision = precision.select_precision(builder.recipe.speed.precision, str(device.value))
    if builder.recipe.speed.precision == "auto":
        builder.set("speed.precision", chosen_precision.value, f"chosen: {chosen_precision.reason}")
    threads = machine_settings.select_threads(str(device.value))
    if threads is not None and builder.recipe.speed.threads is None:
        builder.set_default("speed.threads", threads.value, threads.reason)
    if builder.recipe.data.workers is None:
        workers = machine_settings.select_workers(str(device.value))
        builder.set_default("data.workers", workers.value, workers.reason)


def _choose_image_settings(builder: RecipeBuilder, info: DatasetInfo) -> None:
    shorter = sorted(info.shorter_sides)[len(info.shorter_sides) // 2] if info.shorter_sides else info.model_size
    if builder.recipe.data.imgsz is None:
        builder.set_default("data.imgsz", *_image_size(shorter, info))
    side = builder.recipe.data.imgsz or info.model_size
    if shorter * builder.recipe.data.crop_fraction < side and builder.recipe.data.resize == "shorter":
        reason = f"images with a shorter side of {shorter} have no border to crop"
        builder.set_default("data.crop_fraction", 1.0, reason)
    if builder.recipe.augment.crop == "auto":
        if side <= SMALL_IMAGE_SIZE:
            builder.set_default("augment.crop", "pad", f"usual at {side} pixels")
            for key in ("augment.jitter", "augment.erase"):
                builder.set_default(key, 0.0, "small images are augmented as whole batches")
        else:
            builder.set_default("augment.crop", "random_resized", f"usual at {side} pixels")
    if builder.recipe.augment.crop == "pad" and builder.recipe.augment.pad_pixels is None:
        builder.set_default("augment.pad_pixels", max(side // 8, 1), "an eighth of the side, as on CIFAR")


def _image_size(shorter: int, info: DatasetInfo) -> tuple[int, str]:
    if info.weights_size is not None:
        hint = _smaller_size_hint(shorter, info.weights_size, info)
        return info.weights_size, f"the size at which the weights were trained{hint}"
    if shorter >= info.model_size:
        return info.model_size, "the size that the network is made for"
    if shorter < info.min_size:
        return info.min_size, "the smallest size that the network accepts"
    side = shorter if shorter <= SMALL_IMAGE_SIZE else shorter // 32 * 32
    return max(side, info.min_size), f"the shorter side of the images is {shorter}"


def _smaller_size_hint(shorter: int, side: int, info: DatasetInfo) -> str:
    """Return what a smaller size than `side` would save where the images are less than half as large, or an empty string.

    A smaller size is not chosen, since weights are usually less accurate at another size than that of their training.
    """
    smaller = max(shorter, 2 * info.min_size)  # so that the last feature map has more than one position
    if 2 * smaller > side:
        return ""
    return (
        f"; the images have a shorter side of {shorter}: `imgsz={smaller}` takes about 1/{round((side / smaller) ** 2)} of the "
        "computation, usually at a loss of accuracy"
    )


def check_batch_divisible(batch: int) -> None:
    """Raise UserError unless the batch can be divided equally over the ranks."""
    if batch % ranks.world_size():
        problem = f"{batch} is not divisible by {ranks.world_size()}"
        raise UserError(f"`data.batch` is the batch size of all processes together: {problem}.")


def _choose_batch(builder: RecipeBuilder, info: DatasetInfo) -> None:
    if builder.recipe.data.batch is not None:
        check_batch_divisible(builder.recipe.data.batch)
        return
    side = builder.recipe.data.imgsz or info.model_size
    batch = usual = SMALL_BATCH if side <= SMALL_IMAGE_SIZE else LARGE_BATCH
    while batch > MIN_BATCH and info.num_train // (batch * ranks.world_size()) < MIN_STEPS_PER_EPOCH:
        batch //= 2
    batch = max(min(batch, info.num_train // ranks.world_size()), 1)
    few = f"there are only {info.num_train} training images"
    reason = f"usual at {side} pixels" if batch == usual else few
    if (size := ranks.world_size()) > 1:
        reason = f"{batch} for each of {size} processes: {reason}"
    builder.set_default("data.batch", batch * size, reason)


def _choose_head_epochs(builder: RecipeBuilder) -> None:
    epochs, head = builder.recipe.stop.epochs, builder.recipe.freeze.head_epochs
    if epochs is not None and builder.recipe.stop.steps is None and 1 < epochs <= head:
        reason = "so that the backbone is trained in the other half of the run"
        builder.set_default("freeze.head_epochs", epochs // 2, reason)


def _choose_lr(builder: RecipeBuilder, info: DatasetInfo) -> None:
    if builder.is_given("optim.name") and not builder.is_given("optim.lr"):
        name = builder.recipe.optim.name
        builder.set_default("optim.lr_batch", LARGE_BATCH, "the batch size of the learning rate")
        builder.set_default("optim.lr", DEFAULT_LR[name], f"usual for {name} and a batch of {LARGE_BATCH}")
    optim, batch = builder.recipe.optim, builder.recipe.data.batch
    user_set = builder.is_given("optim.name") or builder.is_given("optim.lr")
    tuned = builder.recipe.model.weights != "none" and optim.name != "sgd" and not user_set
    if tuned and info.num_features and optim.lr_batch is not None and batch is not None:
        frozen = freeze.recipe_freezes_backbone(builder.recipe)
        lr_features = FROZEN_LR_FEATURES if frozen else FINETUNED_LR_FEATURES
        lr = max(lr_features / info.num_features, optim.lr)
        scaled = lr * math.sqrt(batch / optim.lr_batch)
        reason = f"{lr:.2g} for {info.num_features} features and a batch of {optim.lr_batch}, scaled by the square root"
        builder.set_default("optim.lr", scaled, reason)
        return
    if optim.lr_batch is None or batch is None or batch == optim.lr_batch or builder.is_given("optim.lr"):
        return
    # Goyal et al. 2017 for SGD; for Adam the square root holds (Malladi et al. 2022).
    ratio, rule = batch / optim.lr_batch, "linearly"
    if optim.name != "sgd":
        ratio, rule = math.sqrt(ratio), "by the square root"
    scaled = optim.lr * ratio
    builder.set_default("optim.lr", scaled, f"{optim.lr:g} for a batch of {optim.lr_batch}, scaled {rule}")
