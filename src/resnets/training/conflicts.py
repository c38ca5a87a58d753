"""Values of a recipe of which one takes away the effect of another.

A value that the user gave always wins: it clears the recipe's own value that would beat it. Where two given values
exclude each other, or where a given value would have no effect, that is an error that names both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from resnets.errors import UserError
from resnets.recipes.recipe import Recipe, keys, total_steps
from resnets.training.autoconfig import Draft
from resnets.training.optimization import freeze
from resnets.training.optimization.lr_schedule import ERROR_WINDOW_STEPS
from resnets.training.optimization.lr_schedule import build as build_curve

# Two keys for one thing: whichever is given, the recipe's own value of the other is cleared to the value that stands
# behind it.
INSTEAD: tuple[tuple[str, Any, str, Any], ...] = (
    ("stop.epochs", None, "stop.steps", None),
    ("schedule.milestones_epochs", (), "schedule.milestones_steps", ()),
    ("schedule.warmup_epochs", 0.0, "schedule.warmup_until_error", None),
)

# Two keys that say the same in two ways, so that only one of them can be given.
EITHER = (
    ("data.split_file", "data.val_fraction"),
    ("data.split_file", "data.folds"),
    ("data.split_file", "data.fold"),
    ("data.split_file", "data.group_by"),
    ("data.split_file", "data.split_seed"),
    ("data.folds", "data.val_fraction"),
    ("optim.lr", "optim.lr_batch"),
    ("schedule.factor", "schedule.factors"),
    ("augment.scale", "augment.shorter_side"),
    ("augment.scale", "augment.pad_pixels"),
    ("augment.scale", "augment.pad_mode"),
    ("augment.ratio", "augment.shorter_side"),
    ("augment.ratio", "augment.pad_pixels"),
    ("augment.ratio", "augment.pad_mode"),
    ("augment.shorter_side", "augment.pad_pixels"),
    ("augment.shorter_side", "augment.pad_mode"),
)

# The crop that a key is for; with `augment.crop=auto` the given key chooses it.
CROP_OF = {
    "augment.scale": "random_resized",
    "augment.ratio": "random_resized",
    "augment.shorter_side": "shorter_side",
    "augment.pad_pixels": "pad",
    "augment.pad_mode": "pad",
}


class Needs(NamedTuple):
    """`key` has an effect only where `works`, which `other` decides."""

    key: str
    other: str
    works: Callable[[Recipe], bool]


def _held_out(recipe: Recipe) -> bool:
    return bool(recipe.data.folds or recipe.data.val_fraction)


def _crops(crop: str) -> Callable[[Recipe], bool]:
    return lambda recipe: recipe.augment.crop in ("auto", crop)


def _backbone_learns(recipe: Recipe) -> bool:
    return not freeze.whole_by(recipe)


def _warms_up(recipe: Recipe) -> bool:
    return bool(recipe.schedule.warmup_epochs) or recipe.schedule.warmup_until_error is not None


NEEDS = (
    Needs("data.crop_fraction", "data.resize", lambda recipe: recipe.data.resize == "shorter"),
    Needs("data.antialias", "data.resize", lambda recipe: recipe.data.resize != "none"),
    Needs("data.split_seed", "data.val_fraction", _held_out),
    Needs("data.group_by", "data.val_fraction", _held_out),
    *(Needs(key, "augment.crop", _crops(crop)) for key, crop in CROP_OF.items()),
    Needs("augment.pad_mode", "augment.pad_pixels", lambda recipe: recipe.augment.pad_pixels != 0),
    Needs("optim.nesterov", "optim.name", lambda recipe: recipe.optim.name == "sgd"),
    Needs("optim.nesterov", "optim.momentum", lambda recipe: recipe.optim.momentum > 0),
    Needs("optim.decay_norm_and_bias", "optim.weight_decay", lambda recipe: recipe.optim.weight_decay > 0),
    *(
        Needs(f"schedule.{key}", "schedule.name", lambda recipe: recipe.schedule.name == "step")
        for key in ("milestones_steps", "milestones_epochs", "factor", "factors")
    ),
    Needs("schedule.peak_fraction", "schedule.name", lambda recipe: recipe.schedule.name == "one_cycle"),
    *(
        Needs(f"schedule.{key}", "schedule.plateau_epochs", lambda recipe: recipe.schedule.plateau_epochs is not None)
        for key in ("plateau_factor", "plateau_min_factor")
    ),
    Needs("schedule.warmup_factor", "schedule.warmup_epochs", _warms_up),
    Needs("freeze.head_epochs", "freeze.layers", _backbone_learns),
    Needs("freeze.backbone_lr_factor", "freeze.layers", _backbone_learns),
    Needs("freeze.norm", "freeze.layers", lambda recipe: _backbone_learns(recipe) or recipe.freeze.norm != "train"),
    Needs("speed.sync_bn", "freeze.layers", _backbone_learns),
    Needs("speed.sync_bn", "freeze.norm", lambda recipe: recipe.freeze.norm == "train"),
    Needs("model.zero_init_residual", "model.weights", lambda recipe: recipe.model.weights == "none"),
)


def settle(draft: Draft) -> None:
    """Let what was given win over the recipe's own values.

    Raises:
        UserError: given values exclude each other or would have no effect; the message names all of them.
    """
    found = [f"{_named(draft, a)} and {_named(draft, b)} exclude each other" for a, b in EITHER if _both(draft, a, b)]
    for one, empty_one, other, empty_other in INSTEAD:
        if _both(draft, one, other):
            found.append(f"{_named(draft, one)} and {_named(draft, other)} exclude each other")
        elif _wins(draft, one):
            _clear(draft, other, empty_other, one)
        elif _wins(draft, other):
            _clear(draft, one, empty_one, other)
    if _wins(draft, "schedule.factor"):
        _clear(draft, "schedule.factors", (), "schedule.factor")
    if _wins(draft, "optim.lr"):
        _clear(draft, "optim.lr_batch", None, "optim.lr")
    if not _backbone_learns(draft.recipe):
        _clear(draft, "freeze.head_epochs", 0, "freeze.layers")
    if draft.recipe.augment.crop == "auto":
        for key, crop in CROP_OF.items():
            if draft.given(key):
                draft.choose("augment.crop", crop, f"{key} is for this one")
    for key, other, works in NEEDS:
        if _wins(draft, key) and not works(draft.recipe):
            found.append(f"{_named(draft, key)} has no effect with {_named(draft, other)}")
    if draft.recipe.data.normalize == "weights" and draft.recipe.model.weights == "none":
        found.append(f"{_named(draft, 'data.normalize')} needs `weights`")
    _raise(found, "Change one, or leave it out.")


def check_source(draft: Draft, own_val: bool, stored: bool) -> None:
    """Raises UserError where the images were divided before, and a split of another kind was asked for."""
    if not own_val and not stored:
        return
    why = "shards were divided when they were written" if stored else "the data have a val part of their own"
    split = ("data.val_fraction", "data.folds", "data.fold", "data.group_by", "data.split_seed", "data.split_file")
    given = [key for key in split if draft.given(key) and (stored or key != "data.split_file")]
    _raise([f"{_named(draft, key)} has no effect: {why}" for key in given], "Leave it out.")


# What a range test does not do: it ends after its steps, judges nothing and keeps nothing.
_NOT_IN_RANGE_TEST = ("schedule.", "stop.", "save.", "ema.", "speed.sync_bn")


def check_range_test(draft: Draft) -> None:
    """Note the given values that have no effect on a range test, which takes those of a training.

    Raises:
        UserError: a rate was given, while the test has its own.
    """
    given = [key for key in draft.origins if draft.given(key)]
    why = "has no effect on a range test"
    rates = [f"{_named(draft, key)} {why}" for key in given if key in ("optim.lr", "optim.lr_batch")]
    _raise(rates, "Its rate goes from `low` to `high`.")
    draft.notes += [f"{_named(draft, key)} {why}" for key in given if key.startswith(_NOT_IN_RANGE_TEST)]


def check_sizes(draft: Draft, train_count: int, val_count: int, ranks: int = 1) -> None:
    """Compare the given values with how many images and steps there are; say what a recipe's own value loses by it.

    Raises:
        UserError: a given value would have no effect.
    """
    recipe = draft.recipe
    batch = recipe.data.batch or 1
    steps = max(train_count // max(min(batch, train_count), 1), 1)
    total, schedule = total_steps(recipe, steps), recipe.schedule
    end = f"a run of {total:,} steps ({total / steps:g} epochs)"
    unseen, late = "has no effect without validation images", f"reaches beyond {end}"
    head = recipe.freeze.head_epochs * steps if _backbone_learns(recipe) else 0
    slices = f"has more slices than {_named(draft, 'data.batch')} has images"

    def given_late(key: str) -> bool:
        return draft.given(key) and (keys(recipe)[key] or 0) * steps >= total

    rules = [
        ("data.batch", batch > train_count, f"is more than the {train_count:,} training images"),
        ("optim.accumulate", recipe.optim.accumulate > batch // ranks, slices),
        ("schedule.warmup_epochs", schedule.warmup_epochs * steps > total // 2 + 1, f"is more than half of {end}"),
        (
            "freeze.head_epochs",
            0 < total <= head,
            f"leaves nothing for the backbone in {end}; `freeze=backbone` means that",
        ),
        ("schedule.milestones_epochs", any(each * steps >= total for each in schedule.milestones_epochs), late),
        ("schedule.milestones_steps", any(each >= total for each in schedule.milestones_steps), late),
        ("schedule.plateau_epochs", not val_count and schedule.plateau_epochs is not None, unseen),
        ("stop.patience_epochs", not val_count and recipe.stop.patience_epochs is not None, unseen),
        ("schedule.plateau_epochs", val_count and given_late("schedule.plateau_epochs"), late),
        (
            "schedule.warmup_until_error",
            schedule.warmup_until_error is not None and total <= ERROR_WINDOW_STEPS,
            f"is judged by {ERROR_WINDOW_STEPS} steps and would never end in {end}",
        ),
    ]
    build_curve(schedule, total_steps=total, steps_per_epoch=steps)  # which says what a step schedule lacks
    broken = [(key, words) for key, is_broken, words in rules if is_broken]
    _raise([f"{_named(draft, key)} {words}" for key, words in broken if draft.given(key)], "Give another value.")
    draft.notes += [
        f"`{key}={_text(keys(recipe)[key])}` of the recipe {words}" for key, words in broken if key in NOTED
    ]
    if val_count and given_late("stop.patience_epochs"):  # a short trial of a command for a long run
        draft.notes.append(f"{_named(draft, 'stop.patience_epochs')} {late}")


# What a recipe's own value loses changes the result, so that it is said; the other rules are for given values only.
NOTED = (
    "freeze.head_epochs",
    "schedule.milestones_epochs",
    "schedule.milestones_steps",
    "schedule.plateau_epochs",
    "schedule.warmup_until_error",
    "stop.patience_epochs",
)


ZERO_COUNTS = ("data.val_fraction", "data.split_seed", "schedule.warmup_factor", "augment.pad_pixels")


def _both(draft: Draft, one: str, other: str) -> bool:
    return _wins(draft, one) and _wins(draft, other)


def _wins(draft: Draft, key: str) -> bool:
    """Whether the user gave this value, and not one that switches it off."""
    return draft.given(key) and bool(keys(draft.recipe)[key] or key in ZERO_COUNTS)


def _clear(draft: Draft, key: str, empty: Any, winner: str) -> None:
    if keys(draft.recipe)[key] != empty and not draft.given(key):
        draft.choose(key, empty, f"{winner} was given")


def _named(draft: Draft, key: str) -> str:
    """The key with its value, as it was given or stands in the recipe."""
    text, origin = _text(keys(draft.recipe)[key]), draft.origins.get(key, "")
    if origin.startswith("given: --") and origin != "given: --set":
        return f"`{origin.removeprefix('given: --').replace('-', '_')}={text}`"
    return f"`{key}={text}`"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _raise(found: Iterable[str], advice: str) -> None:
    if found := list(dict.fromkeys(found)):
        raise UserError(f"{'; '.join(found)}. {advice}")
