"""Of two settings that exclude each other the given one wins, or an error names both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resnets.errors import UserError
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.recipes.recipe import flat_values
from resnets.training.configuration import conflicts
from resnets.training.configuration.recipe_builder import RecipeBuilder


def drafted(recipe: str, given: str) -> RecipeBuilder:
    """A builder with `given`: words such as `--epochs=3` or `optim.lr=0.1`, as the command line would leave it."""
    arguments = {"--epochs": "stop.epochs", "--freeze": "freeze.layers", "--lr": "optim.lr"}
    builder = RecipeBuilder(registry.find(recipe))
    for word in given.split():
        name, _, value = word.partition("=")
        key = arguments.get(name, name)
        builder.recipe = override(builder.recipe, f"{key}={value}")
        builder.origins[key] = f"given: {name}" if name in arguments else "given: --set"
    return builder


# recipe, what is given, what stands in the recipe afterwards
WINS = [
    ("he2015_cifar", "--epochs=3", {"stop.epochs": 3, "stop.steps": None}),
    ("scratch", "stop.steps=7", {"stop.epochs": None, "stop.steps": 7}),
    ("he2015_cifar", "schedule.milestones_epochs=2,4", {"schedule.milestones_steps": ()}),
    ("notes_cifar", "schedule.milestones_steps=9 schedule.factors=0.1", {"schedule.milestones_epochs": ()}),
    ("notes_cifar", "schedule.factor=0.2", {"schedule.factor": 0.2, "schedule.factors": ()}),
    ("scratch", "schedule.warmup_until_error=0.8", {"schedule.warmup_epochs": 0.0}),
    ("scratch", "schedule.warmup_steps=30", {"schedule.warmup_epochs": 0.0}),
    ("yolov3_coco", "schedule.warmup_epochs=1", {"schedule.warmup_steps": None}),
    ("finetune", "--freeze=backbone model.weights=x", {"freeze.head_epochs": 0}),
    ("finetune", "--freeze=4 model.name=resnet18 model.weights=x", {"freeze.head_epochs": 0}),
    ("finetune", "--freeze=3 model.name=resnet18 model.weights=x", {"freeze.head_epochs": 2}),
    ("scratch", "--lr=0.3", {"optim.lr": 0.3, "optim.lr_batch": None}),
    ("scratch", "augment.scale=0.2,1", {"augment.crop": "random_resized"}),
    ("scratch", "augment.pad_pixels=3", {"augment.crop": "pad"}),
    ("scratch", "augment.shorter_side=40,60", {"augment.crop": "shorter_side"}),
]


@pytest.mark.parametrize(("recipe", "given", "after"), WINS, ids=[f"{row[0]} {row[1]}" for row in WINS])
def test_given_values_win_over_those_of_the_recipe(recipe: str, given: str, after: dict) -> None:
    builder = drafted(recipe, given)
    conflicts.resolve_conflicts(builder)
    assert {key: flat_values(builder.recipe)[key] for key in after} == after


# recipe, what is given, the two that the message names
EXCLUDES = [
    ("scratch", "--epochs=3 stop.steps=9", "`epochs=3`", "`stop.steps=9`"),
    ("notes_cifar", "schedule.milestones_epochs=2 schedule.milestones_steps=9", "milestones_epochs", "milestones_steps"),
    ("scratch", "schedule.warmup_epochs=2 schedule.warmup_until_error=0.8", "warmup_epochs", "warmup_until_error"),
    ("scratch", "schedule.warmup_epochs=2 schedule.warmup_steps=30", "warmup_epochs", "warmup_steps"),
    ("scratch", "schedule.warmup_epochs=0 schedule.warmup_power=2", "warmup_power=2", "warmup_epochs=0"),
    ("scratch", "data.split_file=s.csv data.val_fraction=0.1", "split_file", "val_fraction"),
    ("scratch", "data.split_file=s.csv data.folds=3", "split_file", "folds"),
    ("scratch", "data.split_file=s.csv data.split_seed=0", "split_file", "split_seed"),
    ("scratch", "data.split_file=s.csv data.group_by=patient", "split_file", "group_by"),
    ("scratch", "data.folds=5 data.fold=1 data.val_fraction=0.3", "`data.folds=5`", "`data.val_fraction=0.3`"),
    ("scratch", "--lr=0.1 optim.lr_batch=256", "`lr=0.1`", "`optim.lr_batch=256`"),
    ("notes_cifar", "schedule.factor=0.1 schedule.factors=0.1,0.2,0.3,0.4", "schedule.factor=", "schedule.factors="),
    ("scratch", "augment.scale=0.2,1 augment.pad_pixels=2", "augment.scale=0.2,1", "augment.pad_pixels=2"),
    ("scratch", "augment.crop=pad augment.scale=0.2,1", "augment.scale=0.2,1", "augment.crop=pad"),
    ("he2015_cifar", "augment.ratio=1,1", "augment.ratio=1,1", "augment.crop=pad"),
    ("he2015_cifar", "data.crop_fraction=0.5", "data.crop_fraction=0.5", "data.resize=stretch"),
    ("scratch", "data.resize=none data.antialias=true", "data.antialias=true", "data.resize=none"),
    ("scratch", "data.val_fraction=0 data.split_seed=5", "data.split_seed=5", "data.val_fraction=0"),
    ("scratch", "data.val_fraction=0 data.group_by=day", "data.group_by=day", "data.val_fraction=0"),
    ("scratch", "augment.crop=pad augment.pad_pixels=0 augment.pad_mode=edge", "pad_mode=edge", "pad_pixels=0"),
    ("scratch", "augment.flip=0 augment.alternate_flip=true", "alternate_flip=true", "augment.flip=0"),
    ("cifar_fast", "augment.scale=0.2,1 augment.crop=random_resized augment.alternate_flip=true", "alternate_flip=true", "crop="),
    ("cifar_fast", "augment.jitter=0.1 augment.alternate_flip=true", "alternate_flip=true", "augment.jitter=0.1"),
    ("scratch", "optim.name=adamw optim.nesterov=true", "optim.nesterov=true", "optim.name=adamw"),
    ("scratch", "optim.momentum=0 optim.nesterov=true", "optim.nesterov=true", "optim.momentum=0"),
    ("scratch", "optim.weight_decay=0 optim.decay_norm_and_bias=true", "decay_norm_and_bias", "weight_decay=0"),
    ("scratch", "schedule.milestones_epochs=30,60", "milestones_epochs=30,60", "schedule.name=cosine"),
    ("scratch", "schedule.factor=0.5", "schedule.factor=0.5", "schedule.name=cosine"),
    ("scratch", "schedule.peak_fraction=0.5", "schedule.peak_fraction=0.5", "schedule.name=cosine"),
    ("scratch", "schedule.plateau_factor=0.5", "plateau_factor=0.5", "plateau_epochs=none"),
    ("scratch", "schedule.warmup_epochs=0 schedule.warmup_factor=0.1", "warmup_factor=0.1", "warmup_epochs=0"),
    ("scratch", "--freeze=4 model.name=resnet18 freeze.head_epochs=3", "freeze.head_epochs=3", "`freeze=4`"),
    ("scratch", "--freeze=backbone freeze.head_epochs=3", "freeze.head_epochs=3", "`freeze=backbone`"),
    ("scratch", "--freeze=backbone freeze.backbone_lr_factor=0.3", "freeze.backbone_lr_factor=0.3", "`freeze=backbone`"),
    ("finetune", "--freeze=backbone freeze.norm=train model.weights=x", "freeze.norm=train", "`freeze=backbone`"),
    ("scratch", "freeze.norm=eval speed.sync_bn=true", "speed.sync_bn=true", "freeze.norm=eval"),
    ("finetune", "model.weights=x model.zero_init_residual=true", "zero_init_residual=true", "model.weights=x"),
    ("finetune", "", "data.normalize=weights", "`weights`"),
]  # fmt: skip


@pytest.mark.parametrize(("recipe", "given", "one", "other"), EXCLUDES, ids=[f"{row[0]} {row[1]}" for row in EXCLUDES])
def test_settings_that_exclude_each_other_are_one_line_that_names_both(
    recipe: str, given: str, one: str, other: str
) -> None:
    with pytest.raises(UserError) as caught:
        conflicts.resolve_conflicts(drafted(recipe, given))
    message = str(caught.value)
    assert one in message
    assert other in message
    assert "\n" not in message


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(UserError) as caught:
        conflicts.resolve_conflicts(drafted("scratch", "--epochs=3 stop.steps=9 optim.name=adam optim.nesterov=true"))
    assert str(caught.value).count(";") == 1


# 48 training images in batches of 16: 3 steps an epoch
SIZES = [
    ("scratch", "data.batch=64", "`data.batch=64` is more than the 48 training images"),
    ("scratch", "data.batch=16 optim.accumulate=17", "`optim.accumulate=17` has more micro-batches than `data.batch=16`"),
    ("scratch", "data.batch=16 --epochs=3 schedule.warmup_epochs=2", "`schedule.warmup_epochs=2` is more than half of"),
    ("scratch", "data.batch=16 --epochs=2 freeze.head_epochs=2", "`freeze.head_epochs=2` leaves no step for the backbone"),
    ("scratch", "data.batch=16 --epochs=4 schedule.name=step schedule.milestones_epochs=4", "reaches beyond a run of 12"),
    ("scratch", "data.batch=16 --epochs=4 schedule.name=step schedule.milestones_steps=12", "reaches beyond a run of 12 steps"),
    ("scratch", "data.batch=16 --epochs=4 schedule.plateau_epochs=9", "`schedule.plateau_epochs=9` reaches beyond a run of"),
    ("scratch", "data.batch=16 --epochs=4 schedule.warmup_until_error=0.8", "needs the errors of 100 steps and would"),
    ("scratch", "data.batch=16 schedule.name=step", "`schedule.name=step` needs `schedule.milestones_epochs`"),
    ("scratch", "data.batch=16 schedule.name=step schedule.milestones_epochs=1,2 schedule.factors=0.1", "1 number for 2"),
]  # fmt: skip


@pytest.mark.parametrize(("recipe", "given", "words"), SIZES, ids=[row[1] for row in SIZES])
def test_settings_without_effect_for_the_number_of_images(recipe: str, given: str, words: str) -> None:
    builder = drafted(recipe, given)
    conflicts.resolve_conflicts(builder)
    with pytest.raises(UserError) as caught:
        conflicts.check_sizes(builder, num_train=48, num_val=12)
    assert words in str(caught.value)


@pytest.mark.parametrize("key", ["stop.patience_epochs", "schedule.plateau_epochs"])
def test_settings_that_use_the_validation_need_validation_images(key: str) -> None:
    builder = drafted("scratch", f"data.batch=16 {key}=3")
    conflicts.check_sizes(builder, num_train=48, num_val=12)
    with pytest.raises(UserError, match=f"`{key}=3` has no effect without validation images"):
        conflicts.check_sizes(builder, num_train=48, num_val=0)


def test_settings_of_the_recipe_without_effect_are_logged() -> None:
    builder = drafted("he2015_cifar", "--epochs=3")
    conflicts.resolve_conflicts(builder)
    conflicts.check_sizes(builder, num_train=48, num_val=0)
    assert len(builder.warnings) == 1
    assert (
        "`schedule.milestones_steps=32000,48000` of the recipe reaches beyond a run of 3 steps" in builder.warnings[0]
    )


@pytest.mark.parametrize(
    ("has_val", "is_shards", "words"), [(True, False, "its own val split"), (False, True, "shards")]
)
@pytest.mark.parametrize("given", ["data.val_fraction=0.3", "data.split_seed=5", "data.group_by=day", "data.folds=4"])
def test_images_with_a_split_are_not_split_otherwise(given: str, has_val: bool, is_shards: bool, words: str) -> None:
    builder = drafted("scratch", given)
    conflicts.check_dataset(builder, has_val=False, is_shards=False)
    with pytest.raises(UserError, match=f"`{given}` has no effect: .*{words}"):
        conflicts.check_dataset(builder, has_val=has_val, is_shards=is_shards)


def _names() -> Iterator[str]:
    for row in conflicts.ALTERNATIVES:
        yield from row[::2]
    for pair in conflicts.EXCLUSIVE:
        yield from pair
    for need in conflicts.REQUIREMENTS:
        yield from need[:2]


def test_the_rules_name_existing_keys() -> None:
    assert set(_names()) <= set(flat_values(registry.find("scratch")))


@pytest.mark.parametrize("name", [name for name in registry.RECIPES if name not in ("finetune", "linear_probe")])
def test_no_recipe_excludes_itself(name: str) -> None:
    builder = RecipeBuilder(registry.find(name))
    conflicts.resolve_conflicts(builder)
    assert builder.recipe == registry.find(name) or builder.recipe.freeze.layers == "backbone"


@pytest.mark.parametrize("given", ["--lr=0.1", "optim.lr_batch=8"])
def test_a_range_test_takes_no_rate(given: str) -> None:
    with pytest.raises(UserError, match="has no effect on a range test") as caught:
        conflicts.check_range_test(drafted("scratch", given))
    assert given.removeprefix("--") in str(caught.value)


def test_settings_without_effect_on_a_range_test_are_logged() -> None:
    builder = drafted("scratch", "--epochs=3 schedule.name=step ema.decay=0.9 optim.clip_norm=1")
    conflicts.check_range_test(builder)
    named = ("epochs=3", "schedule.name=step", "ema.decay=0.9")
    assert builder.warnings == [f"`{each}` has no effect on a range test" for each in named]


def test_a_short_trial_of_a_long_run_starts_with_its_patience() -> None:
    builder = drafted("scratch", "data.batch=16 --epochs=4 stop.patience_epochs=4")
    conflicts.resolve_conflicts(builder)
    conflicts.check_sizes(builder, num_train=48, num_val=12)
    assert "`stop.patience_epochs=4` reaches beyond a run of 12 steps (4 epochs)" in builder.warnings


def test_synchronized_batch_norm_of_one_process_is_named() -> None:
    for world_size in (1, 2):
        builder = drafted("scratch", "data.batch=16 speed.sync_bn=true")
        conflicts.check_sizes(builder, 48, 12, world_size)
        expected = ["`speed.sync_bn=true` has no effect with one process"] if world_size == 1 else []
        assert [warning for warning in builder.warnings if "sync_bn" in warning] == expected
