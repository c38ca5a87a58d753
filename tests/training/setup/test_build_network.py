from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.in_soak import only_in_soak
from tests.tiny_recipe import tiny

from resnets.errors import UserError
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.training import loop, train
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainContext, TrainState
from resnets.weights import checkpoint as checkpoints


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


def _last(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoints.read(run / "weights" / "last.safetensors").tensors)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 1}, "`batch=1` leaves a single image in a step"),
        ({"batch": 4, "overrides": ["optim.accumulate=4"]}, "`batch=4`, `optim.accumulate=4` leaves a single image"),
        pytest.param(
            {"batch": 3, "overrides": ["optim.accumulate=2"]},
            "`batch=3`, `optim.accumulate=2` leaves a single image",
            marks=only_in_soak("1 s"),
        ),
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
    assert "the head keeps its rows of 1 of 3 classes: 'green'; new: 'other blue', 'other red'" in printed
    assert "batch norms" in printed
    assert context.recipe.model.name == "tiny"


def test_weights_of_the_same_classes_keep_their_head(colors, capsys):
    parent, _, _ = _train_without_report(colors, epochs=1)
    _train_without_report(colors, recipe=None, weights=parent, epochs=1, workers=0, precision="fp32")
    assert "their head is kept" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(colors):
    parent, _, _ = _train_without_report(colors, epochs=1)
    with pytest.raises(UserError, match="The weights are of tiny; received `model=resnet18`"):
        train.train(colors, recipe="finetune", weights=parent, model="resnet18", out=colors.parent / "runs")
