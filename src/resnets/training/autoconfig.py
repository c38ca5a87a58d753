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
from resnets.recipes.recipe import Recipe, assign, keys
from resnets.training import choose_device
from resnets.training.optimization import freeze

SMALL_SIDE = 64  # images up to this side are small: they are cropped from a padded image, and want a 3x3 stem
SMALL_BATCH, LARGE_BATCH = 64, 32
LEAST_BATCH = 16  # chosen for a process: batch norm takes its statistics from these images alone
USUAL_RATE = {"sgd": 0.04, "adam": 1e-3, "adamw": 1e-3}  # for a batch of LARGE_BATCH
# The rate for a new head on trained weights, times its number of features, for Adam and a batch of LARGE_BATCH: measured with
# 64 features on small folders (benchmarks/small_folders.py, docs/recipes.md). A step of Adam moves a logit by the rate
# times the sum of the features, so that wider backbones need less.
FROZEN_RATE_FEATURES, FINETUNED_RATE_FEATURES = 2.7, 0.9
STEPS_WANTED = 8  # in an epoch; a batch is halved until there are as many


@dataclass
class Draft:
    """A recipe on its way to being complete, with the origin of each value that is not the recipe's own."""

    recipe: Recipe
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what loses its effect by what was given

    def given(self, key: str) -> bool:
        """Whether the user set this value."""
        return key in self.origins and not self.origins[key].startswith("chosen")

    def set(self, key: str, value: Any, origin: str) -> None:
        self.recipe = assign(self.recipe, key, value)
        self.origins[key] = origin

    def choose(self, key: str, value: Any, reason: str) -> None:
        """Fill in a value for the user, unless he gave one."""
        if not self.given(key):
            self.set(key, value, f"chosen: {reason}")


@dataclass(frozen=True)
class Facts:
    """What is known of the images and the network before the choices are made."""

    train_count: int
    shorter_sides: Sequence[int]  # of some training images, pixels
    model_side: int  # the side that the network is usually fed with
    least_side: int = 1  # that the network can take
    features: int | None = None  # that go into the last layer
    weights_side: int | None = None  # the side that the given weights were trained at
    builtin_digits: bool = False


def complete(draft: Draft, facts: Facts) -> None:
    """Choose everything that is still open."""
    _machine(draft)
    _images(draft, facts)
    _batch(draft, facts)
    _rate(draft, facts)
    _head_epochs(draft)


def tell(draft: Draft) -> None:
    """Print what was chosen, and what the user set."""
    values = keys(draft.recipe)
    for key, origin in draft.origins.items():
        if origin.startswith("chosen"):
            log(f"  {key} = {_shown(values[key])}  ({origin.removeprefix('chosen: ')})")
    for note in draft.notes:
        log(f"warning: {note}")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _machine(draft: Draft) -> None:
    device = choose_device.device(draft.recipe.speed.device)
    if device.value != draft.recipe.speed.device:
        draft.set("speed.device", device.value, f"chosen: {device.reason}")
    precision = choose_device.precision(draft.recipe.speed.precision, str(device.value))
    if draft.recipe.speed.precision == "auto":
        draft.set("speed.precision", precision.value, f"chosen: {precision.reason}")
    if (threads := choose_device.threads(str(device.value))) is not None and draft.recipe.speed.threads is None:
        draft.choose("speed.threads", threads.value, threads.reason)
    if draft.recipe.data.workers is None:
        workers = choose_device.workers(str(device.value))
        draft.choose("data.workers", workers.value, workers.reason)


def _images(draft: Draft, facts: Facts) -> None:
    shorter = sorted(facts.shorter_sides)[len(facts.shorter_sides) // 2] if facts.shorter_sides else facts.model_side
    if draft.recipe.data.imgsz is None:
        draft.choose("data.imgsz", *_side(shorter, facts))
    side = draft.recipe.data.imgsz or facts.model_side
    if shorter * draft.recipe.data.crop_fraction < side and draft.recipe.data.resize == "shorter":
        draft.choose("data.crop_fraction", 1.0, f"with a shorter side of {shorter} there is no border to cut off")
    if draft.recipe.augment.crop == "auto":
        if side <= SMALL_SIDE:
            draft.choose("augment.crop", "pad", f"usual at {side} pixels")
            for key in ("augment.jitter", "augment.erase"):
                draft.choose(key, 0.0, "small images are varied as whole batches")
        else:
            draft.choose("augment.crop", "random_resized", f"usual at {side} pixels")
    if draft.recipe.augment.crop == "pad" and draft.recipe.augment.pad_pixels is None:
        draft.choose("augment.pad_pixels", max(side // 8, 1), "an eighth of the side, as on CIFAR")
    if facts.builtin_digits:
        draft.choose("augment.flip", 0.0, "a mirrored digit is another sign")


def _side(shorter: int, facts: Facts) -> tuple[int, str]:
    if facts.weights_side is not None:
        return (
            facts.weights_side,
            f"the size at which the weights were trained{_saved(shorter, facts.weights_side, facts)}",
        )
    if shorter >= facts.model_side:
        return facts.model_side, "the network's own size"
    if shorter < facts.least_side:
        return facts.least_side, "the least that the network can take"
    side = shorter if shorter <= SMALL_SIDE else shorter // 32 * 32
    return max(side, facts.least_side), f"the shorter side of the images is {shorter}"


def _saved(shorter: int, side: int, facts: Facts) -> str:
    """What a smaller size than `side` would save, where the images are less than half as large; else empty.

    It is not chosen: what the weights make of larger objects than those that they were trained with is usually worse.
    """
    smaller = max(shorter, 2 * facts.least_side)  # so that the last map has more than one place
    if 2 * smaller > side:
        return ""
    return (
        f"; the images have a shorter side of {shorter}: `imgsz={smaller}` takes about 1/{round((side / smaller) ** 2)} of the "
        "computation, usually at a loss of accuracy"
    )


def check_shares(batch: int) -> None:
    """Raises UserError where the processes of the run cannot have equal shares of a batch."""
    if batch % ranks.world_size():
        raise UserError(f"data.batch is that of all processes: {batch} cannot be shared out to {ranks.world_size()}.")


def _batch(draft: Draft, facts: Facts) -> None:
    if draft.recipe.data.batch is not None:
        check_shares(draft.recipe.data.batch)
        return
    side = draft.recipe.data.imgsz or facts.model_side
    batch = usual = SMALL_BATCH if side <= SMALL_SIDE else LARGE_BATCH
    while batch > LEAST_BATCH and facts.train_count // (batch * ranks.world_size()) < STEPS_WANTED:
        batch //= 2
    batch = max(min(batch, facts.train_count // ranks.world_size()), 1)
    few = f"there are only {facts.train_count} training images"
    reason = f"usual at {side} pixels" if batch == usual else few
    if (size := ranks.world_size()) > 1:
        reason = f"{batch} for each of {size} processes: {reason}"
    draft.choose("data.batch", batch * size, reason)


def _head_epochs(draft: Draft) -> None:
    epochs, head = draft.recipe.stop.epochs, draft.recipe.freeze.head_epochs
    if epochs is not None and draft.recipe.stop.steps is None and 1 < epochs <= head:
        draft.choose("freeze.head_epochs", epochs // 2, "so that the backbone learns in the other half of the run")


def _rate(draft: Draft, facts: Facts) -> None:
    if draft.given("optim.name") and not draft.given("optim.lr"):
        name = draft.recipe.optim.name
        draft.choose("optim.lr_batch", LARGE_BATCH, "that of the rate")
        draft.choose("optim.lr", USUAL_RATE[name], f"usual for {name} and a batch of {LARGE_BATCH}")
    part, batch = draft.recipe.optim, draft.recipe.data.batch
    own = draft.given("optim.name") or draft.given("optim.lr")
    tuned = draft.recipe.model.weights != "none" and part.name != "sgd" and not own
    if tuned and facts.features and part.lr_batch is not None and batch is not None:
        frozen = freeze.whole_by(draft.recipe)
        share = FROZEN_RATE_FEATURES if frozen else FINETUNED_RATE_FEATURES
        rate = max(share / facts.features, part.lr)
        scaled = rate * math.sqrt(batch / part.lr_batch)
        why = f"{rate:.2g} for {facts.features} features and a batch of {part.lr_batch}, scaled as a root"
        draft.choose("optim.lr", scaled, why)
        return
    if part.lr_batch is None or batch is None or batch == part.lr_batch or draft.given("optim.lr"):
        return
    # Goyal et al. 2017 for SGD; for Adam the square root holds (Malladi et al. 2022).
    ratio = batch / part.lr_batch
    scaled, rule = (part.lr * ratio, "linearly") if part.name == "sgd" else (part.lr * math.sqrt(ratio), "as a root")
    draft.choose("optim.lr", scaled, f"{part.lr:g} for a batch of {part.lr_batch}, scaled {rule}")
