from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets import open_dataset, write_shards
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import epoch_order
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split, write_split
from resnets.errors import JobError, UserError
from resnets.models import zoo
from resnets.models.spec import build as build_network
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.recipes.recipe import tiny
from resnets.tasks.classification import load, predict_samples
from resnets.training import loop, train
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainContext, TrainState
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import model_card

FILES = [
    *("recipe.toml", "environment.json", "split.csv", "metrics.jsonl", "results.csv", "metrics.json"),
    *("per_class.csv", "predictions.csv", "report.html"),
    *("results.png", "confusion_matrix.png", "reliability.png", "top_losses.png"),
    *("train_batch.jpg", "val_batch_pred.jpg"),
    *("weights/best.safetensors", "weights/last.safetensors"),
]


def _small(name: str = "scratch", **context: object):
    return replace(tiny(registry.find(name)), **context)


def _train(data: Path, **values: object) -> train.TrainResult:
    result = train.train(data, **{"recipe": _small(), "out": data.parent / "runs", **values})
    assert result is not None
    return result


def _train_without_report(data: Path, **values: Any) -> tuple[Path, TrainContext, TrainState]:
    """A run without its report, which takes longer than the training of so few images."""
    recipe = values.pop("recipe", _small())
    overrides, weights = values.pop("overrides", ()), str(values.pop("weights", "none"))
    builder = build_recipe(str(data), None, weights, recipe, values, overrides)
    dataset, parent = prepare_run(builder)
    run = run_dir.create_run_dir(data.parent / "runs", "run")
    context = build_context(builder.recipe, dataset, parent, {})
    return run, context, loop.run(context, TrainState(), run)


def _last(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoints.read(run / "weights" / "last.safetensors").tensors)


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_writes_all_files_and_is_accurate(colors):
    result = _train(colors, epochs=8, lr=0.05, overrides=["optim.momentum=0.8"])
    assert sorted(name for name in FILES if not (result.run / name).is_file()) == []
    assert list((result.run / "state").iterdir())
    assert result.metrics["selected"]["top1"] > 0.9
    assert json.loads((result.run / "metrics.json").read_text()) == result.metrics
    rows = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert list(rows[0]) == list(run_dir.COLUMNS)
    environment = json.loads((result.run / "environment.json").read_text())
    assert torch.__version__.startswith(environment["versions"]["torch"])
    text = (result.run / "recipe.toml").read_text()
    assert "lr = 0.05  # given: --lr" in text
    assert "momentum = 0.8  # given: --set" in text
    assert "epochs = 8  # given: --epochs" in text
    recipe = run_dir.read_recipe(result.run / "recipe.toml")
    assert (recipe.optim.lr, recipe.optim.momentum, recipe.stop.epochs) == (0.05, 0.8, 8)


def test_the_best_weights_have_the_metrics_of_the_run(colors):
    result = _train(colors, epochs=3)
    classifier = load.load(result.run / "weights" / "best.safetensors")
    rows = list(csv.DictReader((result.run / "predictions.csv").open()))
    assert classifier.class_names == ("blue", "green", "red")
    answers = classifier.predict([row["path"] for row in rows])
    assert [answer.label for answer in answers] == [row["predicted"] for row in rows]
    best = checkpoints.read(result.run / "weights" / "best.safetensors")
    assert best.temperature == result.metrics["temperature"]
    assert best.provenance["recipe"] == "scratch"


def test_the_backend_of_cached_features_is_named(colors):
    result = _train(colors, epochs=1, freeze="backbone", overrides=["freeze.norm=eval"]).metrics
    for figures in (result, result["selected"]):
        assert (figures["backend"], figures["precision"]) == ("reference", "fp32")


def test_without_a_test_split_the_headline_is_cross_fitted(colors, capsys):
    result = _train(colors, epochs=2)
    metrics, selected = result.metrics, result.metrics["selected"]
    assert (metrics["split"], metrics["in_sample"], selected["in_sample"]) == ("val", False, True)
    assert "cross-fitted over the val split: each of 5 folds" in metrics["protocol"]
    assert "these images were used to select the epoch and the temperature" in selected["protocol"]
    assert len(metrics["folds"]["epochs"]) == 5
    assert (metrics["backend"], metrics["precision"], metrics["ece_interval"]) == ("torch", "fp32", None)
    best = checkpoints.read(result.run / "weights" / "best.safetensors")
    assert best.temperature == metrics["temperature"] == selected["temperature"]
    rows = list(csv.DictReader((result.run / "predictions.csv").open()))
    assert selected["top1"] == np.mean([row["true"] == row["predicted"] for row in rows])
    low, high = metrics["top1_interval"]
    assert (
        f"cross-fitted, so that no image is evaluated with its own choice: {metrics['top1']:.2%}"
        in capsys.readouterr().err
    )
    page = (result.run / "report.html").read_text()
    assert "by cross-fitting: each of 5 folds" in page
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in page
    assert "resnets data split" in page
    assert "used to select the epoch and the temperature (in-sample:" in page


def test_with_a_test_split_the_headline_is_measured_there(colors):
    dataset = make_split(open_dataset.read(colors), val_fraction=0.2, test_fraction=0.3)
    write_split(colors.parent / "split.csv", dataset)
    result = _train(colors, epochs=1, split_file=str(colors.parent / "split.csv"))
    found = result.metrics
    tested = predict_samples.predict_samples(
        [load.load(result.run / "weights" / "best.safetensors")], dataset.subset("test")
    )
    assert (found["split"], found["in_sample"], found["selected"]["split"]) == ("test", False, "val")
    assert found["count"] == len(dataset.subset("test")) != found["selected"]["count"]
    assert found["top1"] == float(tested.correct.mean())
    rows = list(csv.DictReader((result.run / "predictions.csv").open()))
    assert {Path(row["path"]).name for row in rows} == {Path(each.path).name for each in dataset.subset("test")}
    assert "test images that were not trained on: " in (result.run / "report.html").read_text()


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
    assert "stop.steps = None  (stop.epochs was given)" in printed
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
            "RESNETS_OFFLINE is set and the published ones are not on this machine; ",
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


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 1}, "`batch=1` leaves a single image in a step"),
        ({"batch": 4, "overrides": ["optim.accumulate=4"]}, "`batch=4`, `optim.accumulate=4` leaves a single image"),
        ({"batch": 3, "overrides": ["optim.accumulate=2"]}, "`batch=3`, `optim.accumulate=2` leaves a single image"),
    ],
    ids=str,
)
def test_batch_norm_with_one_value_per_channel_is_refused_early(colors, values, words, capsys):
    with pytest.raises(UserError) as caught:
        train.train(colors, model="resnet18", imgsz=32, dry_run=True, **values)
    assert words in str(caught.value)
    train.train(colors, model="resnet18", imgsz=64, dry_run=True, **values)  # maps of 2x2
    values["overrides"] = [*values.get("overrides", ()), "freeze.norm=eval"]
    train.train(colors, model="resnet18", imgsz=32, dry_run=True, **values)
    assert "Traceback" not in capsys.readouterr().err


def test_only_the_built_in_digits_are_not_mirrored(colors, capsys, monkeypatch):
    monkeypatch.chdir(colors.parent)
    colors.rename("digits")
    train.train("digits", dry_run=True)
    assert "augment.flip" not in capsys.readouterr().err


def _splits(run: Path) -> dict[str, set[str]]:
    rows = list(csv.DictReader((run / "split.csv").open()))
    return {name: {row["sha256"] for row in rows if row["split"] == name} for name in ("train", "val")}


def test_a_run_from_weights_takes_over_their_split_by_content(colors, capsys):
    new = colors.parent / "new"
    for path in sorted(colors.rglob("1*.png")):  # ten of each class come later
        (new / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(new / path.parent.name / path.name)
    first = _train(colors, epochs=1, name="first").run
    for path in new.rglob("*.png"):
        path.rename(colors / path.parent.name / f"later {path.name}")
    second = _train(colors, epochs=1, name="second", recipe=tiny(registry.find("finetune")), weights=first).run
    assert "30 new images split anew" in capsys.readouterr().err
    before, after = _splits(first), _splits(second)
    assert before["train"] < after["train"]
    assert before["val"] < after["val"]
    assert "notices" not in json.loads((second / "metrics.json").read_text())
    # A split that is given is followed, and the images that the weights and those before them were trained on are counted.
    capsys.readouterr()
    weights, values = second, {"recipe": tiny(registry.find("finetune")), "epochs": 1}
    third = _train(colors, name="third", weights=weights, overrides=["data.split_seed=5"], **values).run
    seen = len(_splits(third)["val"] & after["train"])
    stderr = f"{seen} of the {len(_splits(third)['val'])} validation images were used to train the initial weights"
    assert seen > 0
    assert f"warning: the weights {stderr}" in capsys.readouterr().err
    assert stderr in json.loads((third / "metrics.json").read_text())["notices"][0]
    report = (third / "report.html").read_text()
    assert "validation images that were not trained on" not in report
    assert "validation images that were not trained on" not in report
    assert set(json.loads((third / "lineage.json").read_text())["train"]) == after["train"]


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


def test_a_run_takes_over_the_license_and_the_origin_of_its_weights(colors):
    """Over two runs, the second of which goes on after the file of its weights is gone."""
    spec = zoo.get_spec("tiny", num_classes=3)
    metadata = {
        "published": "tiny.somebodys",
        "address": "https://huggingface.co/some/tiny/resolve/main/a",
        "license": "mit",
    }
    parent = Checkpoint(spec, Preprocess.imagenet(32), (), build_network(spec).state_dict(), provenance=metadata)
    checkpoints.save(colors.parent / "parent.safetensors", parent)
    values = {"recipe": tiny(registry.find("finetune")), "epochs": 1}
    first = _train(colors, name="first", weights=colors.parent / "parent.safetensors", **values).run
    second = _train(colors, name="second", weights=first, **values).run
    result = checkpoints.read(second).provenance
    assert result["parent"]["parent"] == metadata
    assert result["train_images"] == len(_splits(second)["train"])
    shutil.rmtree(first)
    train.train(resume=second, epochs="+1")
    assert checkpoints.read(second).provenance == result
    card = model_card.text(checkpoints.read(second), library="timm", name="tiny", usage="")
    assert 'license: "mit"' in card
    assert 'base_model: "some/tiny"' in card
    assert "- license: mit (that of the weights at the beginning of the training)" in card
    assert f"- {result['train_images']:,} training images; SHA-256 of the split: {result['split_sha256']}" in card


@pytest.mark.parametrize("new", [0, 1])
def test_a_run_from_weights_keeps_their_split_with_an_unchanged_folder_or_one_more_image(colors, new, capsys):
    first, _, _ = _train_without_report(colors, epochs=1)
    before = make_split(open_dataset.read(colors))
    write_split(first / "split.csv", before)
    if new:
        Image.new("RGB", (40, 40), (250, 3, 7)).save(colors / "red" / "new.png")
    train.train(colors, weights=first, dry_run=True)
    stderr = capsys.readouterr().err
    assert f"{len(before.subset('train')):,} stay in train, {len(before.subset('val')):,} stay in val" in stderr
    assert ("1 new image to train" in stderr) == bool(new)


def test_the_groups_of_a_recipe_hold_where_a_split_is_inherited(colors):
    first, _, _ = _train_without_report(colors, epochs=1)
    write_split(first / "split.csv", make_split(open_dataset.read(colors)))
    for path in sorted(colors.rglob("*.png")):  # eight images in each of three new folders of a class
        for number in range(2):
            new_path = path.parent / f"day {path.stem[-1]}" / f"{number} {path.name}"
            new_path.parent.mkdir(exist_ok=True)
            image = Image.open(path).convert("RGB")
            image.putpixel((0, 0), (number, 1, 2))
            image.save(new_path)
    recipe = override(_small("finetune"), "data.group_by=folder")
    recipe = replace(recipe, model=replace(recipe.model, name=None))
    builder = build_recipe(str(colors), None, first, recipe, {}, [])
    dataset, _ = prepare_run(builder)
    groups = {sample.group for sample in dataset.samples if sample.group}
    sides = {(sample.group, sample.split) for sample in dataset.samples if sample.group}
    assert builder.recipe.data.group_by == "folder"
    assert len(sides) == len(groups) > 3


def test_the_training_images_of_weights_outside_of_a_run_are_unknown(colors, capsys):
    first, _, _ = _train_without_report(colors, epochs=1)
    weights = colors.parent / "moved.safetensors"
    weights.write_bytes((first / "weights" / "last.safetensors").read_bytes())
    train.train(colors, weights=weights, dry_run=True)
    assert (
        "whether some of the validation images were used to train the initial weights is not known"
        in capsys.readouterr().err
    )


def test_the_same_seed_gives_the_same_bytes(colors):
    first, second, other = (_train_without_report(colors, epochs=2, seed=seed)[0] for seed in (3, 3, 4))
    for name in ("weights/best.safetensors", "weights/last.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
        assert (first / name).read_bytes() != (other / name).read_bytes()


@pytest.mark.parametrize("crop", ["random_resized", "pad"])
def test_neither_cache_nor_workers_change_a_run(colors, crop):
    overrides = [f"augment.crop={crop}"]
    overrides += ["augment.jitter=0", "augment.erase=0"] if crop == "pad" else []
    plain = _last(_train_without_report(colors, epochs=1, overrides=overrides)[0])
    for values in ({"workers": 2}, {"cache": "off"}, {"cache": "off", "workers": 1}):
        assert _same(plain, _last(_train_without_report(colors, epochs=1, overrides=overrides, **values)[0])), values


@pytest.mark.parametrize("name", [name for name in registry.RECIPES if name != "finetune"])
def test_every_recipe_runs_tiny(colors, name):
    run, _, state = _train_without_report(colors, recipe=_small(name))
    assert len(state.rows) >= 2
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(state.rows)


def test_finetune_trains_the_head_first_and_keeps_the_backbone(colors, capsys):
    parent, _, _ = _train_without_report(colors, epochs=2)
    for folder in (colors / "red", colors / "blue"):
        folder.rename(folder.with_name(f"other {folder.name}"))
    weights = parent / "weights" / "last.safetensors"
    recipe = _small("finetune")
    recipe = override(replace(recipe, model=replace(recipe.model, name=None)), "ema.decay=0")
    run, context, _ = _train_without_report(colors, recipe=recipe, weights=weights, epochs=1)
    before, after = _last(parent), _last(run)
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("head."))
    assert not torch.equal(before["head.fc.weight"], after["head.fc.weight"])
    printed = capsys.readouterr().err
    assert "new head for 3 classes: head.fc.weight, head.fc.bias" in printed
    assert "BN in eval" in printed
    assert context.recipe.model.name == "tiny"


def test_weights_of_the_same_classes_keep_their_head(colors, capsys):
    parent, _, _ = _train_without_report(colors, epochs=1)
    _train_without_report(colors, recipe=None, weights=parent, epochs=1, workers=0, precision="fp32")
    assert "their head is kept" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(colors):
    parent, _, _ = _train_without_report(colors, epochs=1)
    with pytest.raises(UserError, match="The weights are of tiny; received `model=resnet18`"):
        train.train(colors, recipe="finetune", weights=parent, model="resnet18", out=colors.parent / "runs")


def test_early_stopping(colors, capsys):
    # with a rate of nearly nothing the first epoch stays the best
    overrides = ["ema.decay=0", "optim.momentum=0", "freeze.norm=eval"]
    _, _, state = _train_without_report(colors, epochs=20, lr=1e-9, patience=2, overrides=overrides)
    assert 3 <= len(state.rows) < 20
    assert state.best_epoch == len(state.rows) - 2
    assert "early stopping" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "words", "count"),
    [
        (["data.batch=8", "schedule.name=constant"], "The loss became nan at step 2 (epoch 1", 8),
        ([], "The validation loss became nan at step 1 (epoch 1", 32),
    ],
    ids=["training", "validation"],
)
def test_a_loss_that_is_not_finite_stops_with_step_lr_and_files(colors, overrides, words, count):
    with pytest.raises(JobError) as caught:
        _train_without_report(colors, lr=1e30, overrides=["schedule.warmup_epochs=0", *overrides])
    message = str(caught.value)
    assert words in message
    assert "lr 1e+30" in message
    assert message.count(str(colors)) == count


def test_all_unreadable_images_are_listed_at_once_or_left_out(colors, capsys):
    (colors / "red" / "03.png").write_text("this is a text")
    whole = (colors / "green" / "05.png").read_bytes()
    (colors / "green" / "05.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        _train(colors, epochs=1)
    assert "red/03.png" in str(caught.value)
    assert "green/05.png" in str(caught.value)
    assert not (colors.parent / "runs").exists()
    _, context, _ = _train_without_report(colors, epochs=1, on_bad="skip")
    assert "left out 2 images" in capsys.readouterr().err
    assert len(context.train_data.paths) + len(context.val_labels) == 70


def test_a_class_whose_last_image_was_left_out_is_named(colors, capsys):
    for path in (colors / "red").iterdir():
        path.write_text("this is a text")
    (colors / "void").mkdir()
    with pytest.raises(UserError, match=r"no image of 'red' is left\. Besides, .* without images: 'void'"):
        train.train(colors, dry_run=True)  # all that is known is said at once
    (colors / "void").rmdir()
    _, context, _ = _train_without_report(colors, epochs=1, on_bad="skip")
    assert "left out the class 'red': none of its images can be read" in capsys.readouterr().err
    assert context.train_data.class_names == ["blue", "green"]
    for path in colors.rglob("*.png"):
        path.write_text("this is a text")
    with pytest.raises(UserError, match=r"None of the 72 images of .* can be read"):
        _train(colors, epochs=1, on_bad="skip")


def test_images_that_fail_only_when_decoded_do_not_end_a_run(colors, capsys):
    """Neither in training nor in validation; and the report says what was left out."""
    Image.fromarray(np.random.default_rng(0).random((32, 32), dtype=np.float32)).save(colors / "red" / "floats.tif")
    content = bytearray((colors / "blue" / "05.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (colors / "blue" / "05.png").write_bytes(content)
    Image.new("RGB", (60_000, 4)).save(colors / "green" / "strip.png")
    (colors / "green" / "film.mov").touch()
    run = _train(colors, epochs=1, on_bad="skip", cache="off").run
    line = "not used: 1 .mov, 2 images that cannot be read"
    assert "not used: 1 .mov" in capsys.readouterr().err
    assert json.loads((run / "environment.json").read_text())["not_used"] == line
    assert "Not used: 1 .mov, 2 images that cannot be read." in (run / "report.html").read_text()
    train.train(resume=run, epochs="+1")
    assert json.loads((run / "environment.json").read_text())["not_used"] == line


def test_a_written_split_is_followed_and_left_out_images_do_not_break_it(colors, tmp_path):
    (colors / "red" / "03.png").write_text("this is a text")
    dataset = open_dataset.read(colors)
    write_split(tmp_path / "split.csv", make_split(dataset, val_fraction=0.4, seed=7))
    result = _train(colors, epochs=1, split_file=str(tmp_path / "split.csv"), on_bad="skip")
    theirs, ours = ((path / "split.csv").read_text().splitlines() for path in (tmp_path, result.run))
    assert set(ours) == {row for row in theirs if "red/03.png" not in row}
    # The run's own split does not know the bad image, which is still there.
    assert {each.split for each in read_split(result.run / "split.csv", dataset).samples} == {"train", "val"}
    with pytest.raises(UserError, match=r"`val_fraction=0\.3` exclude each other"):
        _train(colors, split_file=str(tmp_path / "split.csv"), val_fraction=0.3)


def test_without_validation_images_the_last_weights_are_the_best(colors):
    result = _train(colors, epochs=2, val_fraction=0)
    assert result.metrics == {}
    tensors = [checkpoints.read(result.run / "weights" / f"{name}.safetensors").tensors for name in ("best", "last")]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    assert (result.run / "report.html").is_file()


@pytest.mark.parametrize("balance", ["loss", "sampler"])
def test_balancing_lets_a_rare_class_count_as_much(colors, balance):
    for path in sorted((colors / "red").iterdir())[6:]:
        path.unlink()
    _, context, _ = _train_without_report(colors, epochs=1, balance=balance)
    train_data = context.train_data
    if balance == "loss":
        sums = torch.zeros(3).index_add_(0, train_data.labels, train_data.loss_weights)
        torch.testing.assert_close(sums, torch.full((3,), len(train_data.labels) / 3))
    else:
        drawn = torch.cat(
            [
                epoch_order.epoch_indices(len(train_data.labels), seed=0, epoch=e, weights=train_data.plan.weights)
                for e in range(60)
            ]
        )
        fractions = torch.bincount(train_data.labels[drawn], minlength=3) / len(drawn)
        torch.testing.assert_close(fractions, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


def test_accumulation_is_the_same_step_in_micro_batches(colors):
    frozen = ["freeze.norm=eval", "ema.decay=0"]  # BN would see the micro-batches
    whole = _last(_train_without_report(colors, epochs=1, overrides=frozen)[0])
    accumulated = _last(_train_without_report(colors, epochs=1, overrides=[*frozen, "optim.accumulate=4"])[0])
    for name in whole:
        torch.testing.assert_close(whole[name], accumulated[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim.name=adamw", "optim.lr=0.003", "schedule.name=one_cycle"],
        ["augment.mixup_alpha=0.4", "augment.cutmix_alpha=1"],
        ["optim.clip_norm=0.5", "augment.trivial=true", "model.drop_path_rate=0.2"],
        ["data.normalize=channel", "data.resize=pad"],
        ["data.normalize=pixel", "augment.crop=none"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_other_ways_to_train_run(colors, overrides):
    _, _, state = _train_without_report(colors, epochs=12, overrides=overrides)
    assert state.rows[-1]["val/loss"] < 0.9 * math.log(3)  # what guessing among three classes would give


def test_class_names_of_any_kind_and_one_image_of_another_size(colors):
    (colors / "red").rename(colors / "röd 赤 & co")
    Image.fromarray(np.zeros((300, 17, 3), dtype=np.uint8)).save(colors / "blue" / "tall.png")
    run, _, _ = _train_without_report(colors, epochs=1)
    assert checkpoints.read(run).class_names == ("blue", "green", "röd 赤 & co")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": None}, "Name the images"),
        ({"recipe": "scrach"}, "Did you mean 'scratch'"),
        ({"model": "resnet81", "recipe": "scratch"}, "no network 'resnet81'"),
        ({"lr": -1.0}, "optim.lr must be more than 0"),
        ({"lrate": 0.1}, "no argument 'lrate'"),
        ({"device": "cuda:9"}, "`device=cuda:9` is not available"),
        ({"freeze": "9"}, "received `freeze=9`"),
        ({"stem": "cifer", "model": "resnet18", "recipe": "scratch"}, "cifar"),
        ({"imgsz": 2, "stem": "valid"}, "needs images of at least 11 pixels; received `imgsz=2`"),
        ({"name": "a/b"}, "the name of one folder"),
        ({"resume": "runs/x", "epochs": 3, "out": "runs"}, "There is no run 'runs/x'"),
        ({"epochs": "+3"}, "name the run with `resume`"),
        ({"save_every": "5m"}, "`save_every` takes steps, such as 200, or seconds, such as 60s"),
        ({"save_every": "0"}, "above 0; received '0'"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"group_by": "patient"}, "patient"),
        ({"folds": 5}, "fold"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_argument_is_one_helpful_line(colors, values, words):
    data = values.pop("data", colors)
    with pytest.raises(UserError) as caught:
        train.train(data, **{"recipe": _small(), "out": colors.parent / "runs", **values})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


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
