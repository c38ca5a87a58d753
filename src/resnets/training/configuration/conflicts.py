"""Detect settings that exclude each other or have no effect together.

A value that the user gave always wins: it clears the recipe's own value that would override it. Two given values that exclude
each other, and a given value that would have no effect, are errors that name both.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from resnets.errors import UserError
from resnets.recipes.recipe import Recipe, flat_values, total_steps
from resnets.training.configuration.recipe_builder import RecipeBuilder, format_value
from resnets.training.optimization import freeze
from resnets.training.optimization.lr_schedule import ERROR_WINDOW_STEPS, build_curve

# Two keys with one meaning, each with its empty value: where one is given, the recipe's own value of the other is cleared.
ALTERNATIVES: tuple[tuple[str, Any, str, Any], ...] = (
    ("stop.epochs", None, "stop.steps", None),
    ("schedule.milestones_epochs", (), "schedule.milestones_steps", ()),
    ("schedule.warmup_epochs", 0.0, "schedule.warmup_until_error", None),
    ("schedule.warmup_epochs", 0.0, "schedule.warmup_steps", None),
    ("schedule.warmup_steps", None, "schedule.warmup_until_error", None),
)

# Two keys of which only one can be given.
EXCLUSIVE = (
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

# Keys that belong to one value of `augment.crop`; with `augment.crop=auto` the given key chooses it.
CROP_OF_KEY = {
    "augment.scale": "random_resized",
    "augment.ratio": "random_resized",
    "augment.shorter_side": "shorter_side",
    "augment.pad_pixels": "pad",
    "augment.pad_mode": "pad",
}


class Requirement(NamedTuple):
    """`key` has an effect only where `has_effect` is true, which depends on `other`."""

    key: str
    other: str
    has_effect: Callable[[Recipe], bool]


def _held_out(recipe: Recipe) -> bool:
    return bool(recipe.data.folds or recipe.data.val_fraction)


def _trains_backbone(recipe: Recipe) -> bool:
    return not freeze.recipe_freezes_backbone(recipe)


def _warms_up(recipe: Recipe) -> bool:
    return _rises(recipe) or recipe.schedule.warmup_until_error is not None


def _rises(recipe: Recipe) -> bool:
    return bool(recipe.schedule.warmup_epochs or recipe.schedule.warmup_steps)


def _is_off(recipe: Recipe, key: str) -> bool:
    return not getattr(recipe.augment, key)


def _has_plateaus(recipe: Recipe) -> bool:
    return recipe.schedule.plateau_epochs is not None


REQUIREMENTS = (
    Requirement("data.crop_fraction", "data.resize", lambda recipe: recipe.data.resize == "shorter"),
    Requirement("data.antialias", "data.resize", lambda recipe: recipe.data.resize != "none"),
    Requirement("data.split_seed", "data.val_fraction", _held_out),
    Requirement("data.group_by", "data.val_fraction", _held_out),
    *(
        Requirement(key, "augment.crop", lambda recipe, crop=crop: recipe.augment.crop in ("auto", crop))  # type: ignore[misc]
        for key, crop in CROP_OF_KEY.items()
    ),
    Requirement("augment.pad_mode", "augment.pad_pixels", lambda recipe: recipe.augment.pad_pixels != 0),
    Requirement("augment.alternate_flip", "augment.flip", lambda recipe: recipe.augment.flip > 0),
    # Only batches that are augmented as a whole have alternating flips.
    Requirement(
        "augment.alternate_flip", "augment.crop", lambda recipe: recipe.augment.crop in ("auto", "pad", "none")
    ),
    *(
        Requirement("augment.alternate_flip", f"augment.{key}", partial(_is_off, key=key))
        for key in ("jitter", "pca_std", "trivial", "erase")
    ),
    *(
        Requirement(f"optim.{key}", "optim.name", lambda recipe: recipe.optim.name == "muon")
        for key in ("bias_lr", "head_lr", "sgd_momentum")
    ),
    *(
        Requirement(key, "optim.name", lambda recipe: recipe.optim.name != "muon")
        for key in ("optim.decay_norm_and_bias", "freeze.backbone_lr_factor")
    ),
    Requirement("schedule.stem_epochs", "optim.name", lambda recipe: recipe.optim.name == "muon"),
    Requirement("ema.decay", "ema.lookahead_steps", lambda recipe: recipe.ema.lookahead_steps is None),
    Requirement("optim.nesterov", "optim.name", lambda recipe: recipe.optim.name == "sgd"),
    Requirement("optim.nesterov", "optim.momentum", lambda recipe: recipe.optim.momentum > 0),
    Requirement("optim.decay_norm_and_bias", "optim.weight_decay", lambda recipe: recipe.optim.weight_decay > 0),
    *(
        Requirement(f"schedule.{key}", "schedule.name", lambda recipe: recipe.schedule.name == "step")
        for key in ("milestones_steps", "milestones_epochs", "factor", "factors")
    ),
    Requirement("schedule.peak_fraction", "schedule.name", lambda recipe: recipe.schedule.name == "one_cycle"),
    Requirement("schedule.plateau_factor", "schedule.plateau_epochs", _has_plateaus),
    Requirement("schedule.plateau_min_factor", "schedule.plateau_epochs", _has_plateaus),
    Requirement("schedule.warmup_factor", "schedule.warmup_epochs", _warms_up),
    Requirement("schedule.warmup_power", "schedule.warmup_epochs", _rises),
    Requirement("freeze.head_epochs", "freeze.layers", _trains_backbone),
    Requirement("freeze.backbone_lr_factor", "freeze.layers", _trains_backbone),
    Requirement(
        "freeze.norm", "freeze.layers", lambda recipe: _trains_backbone(recipe) or recipe.freeze.norm != "train"
    ),
    Requirement("speed.sync_bn", "freeze.layers", _trains_backbone),
    Requirement("speed.sync_bn", "freeze.norm", lambda recipe: recipe.freeze.norm == "train"),
    Requirement("model.zero_init_residual", "model.weights", lambda recipe: recipe.model.weights == "none"),
)


def resolve_conflicts(builder: RecipeBuilder) -> None:
    """Clear the recipe's own values that would override a given one.

    Raises:
        UserError: given values exclude each other or would have no effect; the message names all of them.
    """
    pairs = [*EXCLUSIVE, *((one, other) for one, _, other, _ in ALTERNATIVES)]
    problems = [
        f"{_format_setting(builder, one)} and {_format_setting(builder, other)} exclude each other"
        for one, other in pairs
        if _is_set(builder, one) and _is_set(builder, other)
    ]
    for one, empty_one, other, empty_other in ALTERNATIVES:
        if _is_set(builder, one) and _is_set(builder, other):
            continue
        if _is_set(builder, one):
            _clear(builder, other, empty_other, one)
        elif _is_set(builder, other):
            _clear(builder, one, empty_one, other)
    if _is_set(builder, "schedule.factor"):
        _clear(builder, "schedule.factors", (), "schedule.factor")
    if _is_set(builder, "optim.lr"):
        _clear(builder, "optim.lr_batch", None, "optim.lr")
    if not _trains_backbone(builder.recipe):
        _clear(builder, "freeze.head_epochs", 0, "freeze.layers")
    if builder.recipe.augment.crop == "auto":
        for key, crop in CROP_OF_KEY.items():
            if builder.is_given(key):
                builder.set_default("augment.crop", crop, f"{key} is a setting of this crop")
    if not builder.is_given("augment.alternate_flip"):
        for key, other, has_effect in REQUIREMENTS:
            if key == "augment.alternate_flip" and builder.is_given(other) and not has_effect(builder.recipe):
                _clear(builder, key, False, other)
    for key, other, has_effect in REQUIREMENTS:
        if _is_set(builder, key) and not has_effect(builder.recipe):
            problems.append(f"{_format_setting(builder, key)} has no effect with {_format_setting(builder, other)}")
    if builder.recipe.data.normalize == "weights" and builder.recipe.model.weights == "none":
        problems.append(f"{_format_setting(builder, 'data.normalize')} needs `weights`")
    _raise_errors(problems, "Change one, or leave it out.")


def check_dataset(builder: RecipeBuilder, has_val: bool, is_shards: bool) -> None:
    """Raise UserError where the images were split before, and a setting asks for another split."""
    if not has_val and not is_shards:
        return
    why = "shards were split when they were written" if is_shards else "the dataset has its own val split"
    split = ("data.val_fraction", "data.folds", "data.fold", "data.group_by", "data.split_seed", "data.split_file")
    given = [key for key in split if builder.is_given(key) and (is_shards or key != "data.split_file")]
    _raise_errors([f"{_format_setting(builder, key)} has no effect: {why}" for key in given], "Leave it out.")


# A range test ends after its steps, without validation and without saving.
_NOT_IN_RANGE_TEST = ("schedule.", "stop.", "save.", "ema.", "speed.sync_bn", "track.")


def check_range_test(builder: RecipeBuilder) -> None:
    """Warn about the given values that have no effect on a range test, which accepts those of a training.

    Raises:
        UserError: a learning rate was given, while the test sets its own.
    """
    given = [key for key in builder.origins if builder.is_given(key)]
    why = "has no effect on a range test"
    rates = [f"{_format_setting(builder, key)} {why}" for key in given if key in ("optim.lr", "optim.lr_batch")]
    _raise_errors(rates, "Its learning rate goes from `low` to `high`.")
    builder.warnings += [
        f"{_format_setting(builder, key)} {why}" for key in given if key.startswith(_NOT_IN_RANGE_TEST)
    ]


def check_sizes(builder: RecipeBuilder, num_train: int, num_val: int, world_size: int = 1) -> None:
    """Compare the settings with the number of images and steps; warn where a recipe's own value has no effect.

    Raises:
        UserError: a given value would have no effect.
    """
    recipe = builder.recipe
    batch = recipe.data.batch or 1
    steps = max(num_train // max(min(batch, num_train), 1), 1)
    total, schedule = total_steps(recipe, steps), recipe.schedule
    end = f"a run of {total:,} steps ({total / steps:g} epochs)"
    no_val, late = "has no effect without validation images", f"reaches beyond {end}"
    head = recipe.freeze.head_epochs * steps if _trains_backbone(recipe) else 0
    micro_batches = f"has more micro-batches than {_format_setting(builder, 'data.batch')} has images"

    def given_late(key: str) -> bool:
        return builder.is_given(key) and (flat_values(recipe)[key] or 0) * steps >= total

    rules = [
        ("data.batch", batch > num_train, f"is more than the {num_train:,} training images"),
        ("optim.accumulate", recipe.optim.accumulate > batch // world_size, micro_batches),
        ("schedule.warmup_epochs", schedule.warmup_epochs * steps > total // 2 + 1, f"is more than half of {end}"),
        ("schedule.warmup_steps", (schedule.warmup_steps or 0) > total // 2 + 1, f"is more than half of {end}"),
        (
            "freeze.head_epochs",
            0 < total <= head,
            f"leaves no step for the backbone in {end}; to train the head only, give `freeze=backbone`",
        ),
        ("schedule.milestones_epochs", any(epoch * steps >= total for epoch in schedule.milestones_epochs), late),
        ("schedule.milestones_steps", any(step >= total for step in schedule.milestones_steps), late),
        ("schedule.plateau_epochs", not num_val and schedule.plateau_epochs is not None, no_val),
        ("stop.patience_epochs", not num_val and recipe.stop.patience_epochs is not None, no_val),
        ("schedule.plateau_epochs", num_val and given_late("schedule.plateau_epochs"), late),
        (
            "schedule.warmup_until_error",
            schedule.warmup_until_error is not None and total <= ERROR_WINDOW_STEPS,
            f"needs the errors of {ERROR_WINDOW_STEPS} steps and would never end in {end}",
        ),
    ]
    build_curve(schedule, total_steps=total, steps_per_epoch=steps)  # raises where a step schedule lacks milestones
    broken = [(key, words) for key, is_broken, words in rules if is_broken]
    _raise_errors(
        [f"{_format_setting(builder, key)} {words}" for key, words in broken if builder.is_given(key)],
        "Give another value.",
    )
    builder.warnings += [
        f"`{key}={format_value(flat_values(recipe)[key])}` of the recipe {words}"
        for key, words in broken
        if key in LOGGED_KEYS
    ]
    if recipe.speed.sync_bn and world_size == 1 and not any("sync_bn" in warning for warning in builder.warnings):
        builder.warnings.append(f"{_format_setting(builder, 'speed.sync_bn')} has no effect with one process")
    if num_val and given_late("stop.patience_epochs"):  # a short trial of a command for a long run
        builder.warnings.append(f"{_format_setting(builder, 'stop.patience_epochs')} {late}")


# Keys whose lost effect changes the result, so that it is logged for the recipe's own value, too.
LOGGED_KEYS = (
    "freeze.head_epochs",
    "schedule.milestones_epochs",
    "schedule.milestones_steps",
    "schedule.plateau_epochs",
    "schedule.warmup_until_error",
    "stop.patience_epochs",
)


ZERO_IS_A_VALUE = ("data.val_fraction", "data.split_seed", "schedule.warmup_factor", "augment.pad_pixels")


def _is_set(builder: RecipeBuilder, key: str) -> bool:
    """Whether the user gave this value, other than one that switches it off."""
    return builder.is_given(key) and bool(flat_values(builder.recipe)[key] or key in ZERO_IS_A_VALUE)


def _clear(builder: RecipeBuilder, key: str, empty: Any, winner: str) -> None:
    if flat_values(builder.recipe)[key] != empty and not builder.is_given(key):
        builder.set_default(key, empty, f"{winner} was given")


def _format_setting(builder: RecipeBuilder, key: str) -> str:
    """Return the key with its value, under the name of the argument if it was given as one."""
    text, origin = format_value(flat_values(builder.recipe)[key]), builder.origins.get(key, "")
    if origin.startswith("given: --") and origin != "given: --set":
        return f"`{origin.removeprefix('given: --').replace('-', '_')}={text}`"
    return f"`{key}={text}`"


def _raise_errors(problems: Iterable[str], advice: str) -> None:
    if problems := list(dict.fromkeys(problems)):
        raise UserError(f"{'; '.join(problems)}. {advice}")
