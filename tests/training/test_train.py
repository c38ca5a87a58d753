from __future__ import annotations

import csv
import inspect
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
from tests.in_soak import IN_SOAK, only_in_soak
from tests.tiny_recipe import tiny

import resnets
from resnets.data.datasets import open_dataset
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import epoch_order
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import write_split
from resnets.errors import JobError, UserError
from resnets.inference import winograd
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.recipes import registry
from resnets.tasks import load_model
from resnets.tasks.classification import predict_samples
from resnets.training import loop, train
from resnets.training.configuration.build_recipe import ARGUMENT_KEYS, build_recipe
from resnets.training.optimization import fast_convolutions
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainContext, TrainState
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import model_card

NEED_WEIGHTS = {"finetune", "linear_probe"}
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
    request = build_recipe(str(data), None, weights, recipe, values, overrides)
    run = run_dir.create_run_dir(data.parent / "runs", "run")
    context = build_context(prepare_run(*request))
    return run, context, loop.run(context, TrainState(), run)


def _last(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoints.read(run / "weights" / "last.safetensors").tensors)


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_3x3_convolutions_are_replaced_where_that_is_faster(colors, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "is_faster_here", lambda: True)
    for layout in ("true", "false"):
        overrides = ["stop.steps=1", f"speed.channels_last={layout}"]
        _, context, _ = _train_without_report(colors, overrides=overrides)
        kinds = {type(module) for module in context.net.modules() if isinstance(module, torch.nn.Conv2d)}
        assert (fast_convolutions.FastConv2d in kinds) == (layout == "true")


def test_a_run_writes_all_files_and_is_accurate(colors):
    result = _train(colors, epochs=8, lr=0.05, overrides=["optim.momentum=0.8"])
    assert sorted(name for name in FILES if not (result.run / name).is_file()) == []
    assert list((result.run / "state").iterdir())
    assert result.metrics["selected"]["top1"] > 0.9
    assert json.loads((result.run / "metrics.json").read_text()) == result.metrics
    rows = [json.loads(line) for line in (result.run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert list(rows[0])[:3] == ["epoch", "step", "time_seconds"]
    assert next(csv.reader((result.run / "results.csv").open())) == list(rows[0])
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
    classifier = load_model.load(result.run / "weights" / "best.safetensors")
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
        f"cross-fitted, so that no image is evaluated with an epoch that it helped to select: accuracy {metrics['top1']:.2%}"
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
        [load_model.load(result.run / "weights" / "best.safetensors")], dataset.subset("test")
    )
    assert (found["split"], found["in_sample"], found["selected"]["split"]) == ("test", False, "val")
    assert found["count"] == len(dataset.subset("test")) != found["selected"]["count"]
    assert found["top1"] == float(tested.correct.mean())
    rows = list(csv.DictReader((result.run / "predictions.csv").open()))
    assert {Path(row["path"]).name for row in rows} == {Path(each.path).name for each in dataset.subset("test")}
    assert "test images that were not trained on: " in (result.run / "report.html").read_text()


def _splits(run: Path) -> dict[str, set[str]]:
    rows = list(csv.DictReader((run / "split.csv").open()))
    return {name: {row["sha256"] for row in rows if row["split"] == name} for name in ("train", "val")}


def test_a_run_takes_over_the_license_and_the_origin_of_its_weights(colors):
    """Over two runs, the second of which goes on after the file of its weights is gone."""
    spec = zoo.get_spec("tiny", num_classes=3)
    metadata = {
        "published": "tiny.somebodys",
        "address": "https://huggingface.co/some/tiny/resolve/main/a",
        "license": "mit",
    }
    parent = Checkpoint(spec, Preprocess.imagenet(32), (), build(spec).state_dict(), provenance=metadata)
    checkpoints.save(colors.parent / "parent.safetensors", parent)
    values = {"recipe": tiny(registry.find("finetune")), "epochs": 1, "overrides": ["track.report=false"]}
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
    both = [{"cache": "off", "workers": 1}] if IN_SOAK else []
    for values in ({"workers": 2}, {"cache": "off"}, *both):
        assert _same(plain, _last(_train_without_report(colors, epochs=1, overrides=overrides, **values)[0])), values


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=only_in_soak("2 s")) if name == "cifar_fast" else name
        for name in registry.RECIPES
        if name not in ("finetune", "linear_probe") and "coco" not in name
    ],
)
def test_every_recipe_runs_tiny(colors, name):
    run, _, state = _train_without_report(colors, recipe=_small(name))
    assert len(state.rows) >= 2
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(state.rows)


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
        sums = torch.zeros(3).index_add_(0, train_data.targets, train_data.loss_weights)
        torch.testing.assert_close(sums, torch.full((3,), len(train_data.targets) / 3))
    else:
        drawn = torch.cat(
            [
                epoch_order.epoch_indices(len(train_data.targets), seed=0, epoch=e, weights=train_data.plan.weights)
                for e in range(60)
            ]
        )
        fractions = torch.bincount(train_data.targets[drawn], minlength=3) / len(drawn)
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
        ["optim.clip_norm=0.5", "augment.trivial=true", "model.drop_path_rate=0.2", "optim.lr=0.1"],
        ["data.normalize=channel", "data.resize=pad", "optim.lr=0.1"],
        ["data.normalize=pixel", "augment.crop=none", "optim.lr=0.1"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_other_ways_to_train_run(colors, overrides):
    _, _, state = _train_without_report(colors, epochs=8, overrides=overrides)
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


@pytest.mark.parametrize("function", [resnets.train, resnets.lr_find])
def test_the_arguments_are_in_the_signature(function):
    parameters = inspect.signature(function).parameters
    assert set(ARGUMENT_KEYS) <= set(parameters)
    assert all(parameters[name].default is None for name in ARGUMENT_KEYS)
    with pytest.raises(UserError, match=r"has no argument 'epoch'\. Did you mean 'epochs'"):
        function("nowhere", epoch=3)
