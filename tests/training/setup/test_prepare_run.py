from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_recipe import tiny

from resnets.data.datasets import open_dataset, write_shards
from resnets.data.split.make_split import make_split
from resnets.errors import UserError
from resnets.recipes import registry
from resnets.training import loop, train
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainContext, TrainState


def _small(name: str = "scratch", **context: object):
    return replace(tiny(registry.find(name)), **context)


def _train_without_report(data: Path, **values: Any) -> tuple[Path, TrainContext, TrainState]:
    """A run without its report, which takes longer than the training of so few images."""
    recipe = values.pop("recipe", _small())
    overrides, weights = values.pop("overrides", ()), str(values.pop("weights", "none"))
    request = build_recipe(str(data), None, weights, recipe, values, overrides)
    run = run_dir.create_run_dir(data.parent / "runs", "run")
    context = build_context(prepare_run(*request))
    return run, context, loop.run(context, TrainState(), run)


def test_what_is_chosen_is_printed_with_its_reason(colors, capsys):
    assert train.train(colors, dry_run=True, out=colors.parent / "runs") is None
    printed = capsys.readouterr().err
    assert "72 images in 3 classes: 58 to train, 14 to validate" in printed
    assert "data.imgsz = 32  (the smallest size that the network accepts)" in printed
    assert "data.batch = 16  (there are only 58 training images)" in printed
    assert "optim.lr = 0.02  (0.04 for a batch of 32, scaled linearly)" in printed
    assert "`stem=cifar`" in printed
    assert not (colors.parent / "runs").exists()


def test_given_epochs_win_over_the_steps_of_a_recipe(colors, capsys):
    assert train.train(colors, recipe="he2015_cifar", model="tiny", epochs=3, batch=8, dry_run=True) is None
    printed = capsys.readouterr().err
    assert "27 steps in 3 epochs" in printed
    assert "stop.steps = none  (stop.epochs was given)" in printed
    with pytest.raises(UserError, match=r"`stop\.steps=9` exclude each other|`epochs=3` and `stop\.steps=9`"):
        train.train(colors, epochs=3, overrides=["stop.steps=9"], dry_run=True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"overrides": ["data.location=elsewhere"]}, "data.location=elsewhere"),
        ({"lr": 0.1, "overrides": ["optim.lr=0.2"]}, "`optim.lr=0.2` and `lr=0.1`"),
        ({"overrides": ["optim.lr=0.1", "optim.lr=0.2"]}, "`optim.lr=0.2` and optim.lr=0.1"),
        ({"model": "tiny", "overrides": ["model.name=resnet18"]}, "`model.name=resnet18` and `model=tiny`"),
        ({"batch": 90}, "`batch=90` is more than the 58 training images"),
        ({"val_fraction": 0, "patience": 3}, "`patience=3` has no effect without validation images"),
    ],
    ids=str,
)
def test_two_values_for_one_setting_are_an_error(colors, values, words):
    with pytest.raises(UserError) as caught:
        train.train(colors, dry_run=True, **values)
    assert words in str(caught.value)


def test_a_network_named_by_an_override_chooses_the_recipe_as_the_argument_does(colors, capsys):
    train.train(colors, dry_run=True, overrides=["model.name=plain18"])  # without branches that could begin as zero
    assert "\nplain18 on " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"overrides": ["model.drop_path_rate=0.1"]},
            "RESNETS_OFFLINE is set and the published ones are not on this machine; unset it to download them; `weights=FILE` "
            "takes a file; `weights=cifar_resnet20.cifar10` takes those in the package",
        ),
        (
            {"overrides": ["model.head_hidden_dim=8"]},
            "RESNETS_OFFLINE is set and the published ones are not on this machine; ",
        ),
        ({"overrides": ["model.shortcut=A"]}, "`model.shortcut=A` makes a network for which"),
        ({"overrides": ["model.stem=cifar"]}, "`model.stem=cifar` makes a network for which"),
        ({"stem": "cifar"}, "`stem=cifar` makes a network for which"),
        ({"model": "cifar_resnet20"}, "cifar_resnet20 is for small images)"),
    ],
    ids=str,
)
def test_the_reason_for_random_weights_is_logged(colors, values, reason, capsys):
    train.train(colors, dry_run=True, **values)
    assert f"model.weights = none  (random, since {reason}" in capsys.readouterr().err


def test_unavailable_published_weights_are_an_error_that_names_alternatives(colors):
    with pytest.raises(UserError, match=r"RESNETS_OFFLINE is set and resnet18.* `weights=none`;.*`weights=FILE`"):
        train.train(colors, weights="imagenet", dry_run=True)


def test_only_the_built_in_digits_are_not_mirrored(colors, capsys, monkeypatch):
    monkeypatch.chdir(colors.parent)
    colors.rename("digits")
    train.train("digits", dry_run=True)
    assert "augment.flip" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("freeze", "words"),
    [
        ("backbone", "the backbone is"),
        ("3", "the backbone is"),
        ("2", "the stem with the first 2 stages is"),
        ("0", "the stem is"),
        ("none", None),
    ],
)
def test_a_backbone_frozen_at_random_weights_is_warned_of(colors, freeze, words, capsys):
    train.train(colors, model="tiny", recipe="scratch", dry_run=True, overrides=[f"freeze.layers={freeze}"])
    stderr = capsys.readouterr().err
    assert (f"warning: {words} frozen at random weights" in stderr) if words else ("frozen at random" not in stderr)


def test_the_training_images_of_weights_outside_of_a_run_are_unknown(colors, capsys):
    first, _, _ = _train_without_report(colors, epochs=1)
    weights = colors.parent / "moved.safetensors"
    weights.write_bytes((first / "weights" / "last.safetensors").read_bytes())
    train.train(colors, weights=weights, dry_run=True)
    assert (
        "whether some of the validation images were used to train the initial weights is not known"
        in capsys.readouterr().err
    )


def test_shards_that_are_too_small_for_the_network_are_logged(colors, capsys):
    out = colors.parent / "shards"
    write_shards.write(out, make_split(open_dataset.read(colors)), resize=16)
    train.train(out, recipe=_small(), imgsz=32, dry_run=True)
    assert "shorter side of 16 pixels, and 32 are needed: they are enlarged" in capsys.readouterr().err
    train.train(out, recipe=_small(), imgsz=16, dry_run=True)
    assert "enlarged" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "a/b"}, "A run's name is the name of one folder; received 'a/b'"),
        ({"device": "cuda:99"}, "`device=cuda:99` is not available on this machine"),
        ({"overrides": ["speed.device=cuda:99"]}, "`device=cuda:99` is not available on this machine"),
    ],
)
def test_a_wrong_name_or_device_is_refused_before_the_images_are_read(values, words, tmp_path):
    with pytest.raises(UserError) as caught:
        train.train(tmp_path / "missing", model="tiny", out=tmp_path, **values)
    assert words in str(caught.value)
