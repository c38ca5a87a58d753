"""A signal ends a run within one step, with a state from which it resumes to the same bytes."""

from __future__ import annotations

import importlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests import forked_processes
from tests.in_soak import only_in_soak
from tests.quick_figures import leave_white
from tests.tiny_recipe import tiny
from torch._dynamo.utils import counters

from resnets.data.datasets import open_dataset
from resnets.data.split.make_split import make_split
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.recipes.recipe import Recipe
from resnets.tasks.classification.task import Classification, ClassificationConfig
from resnets.training import loop
from resnets.training.run_dir import state_file
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import resume_plan
from resnets.training.state import TrainContext, TrainState, read_state, restore_state

SOAK = Path(__file__).parents[1] / "soak"
STEPS_PER_EPOCH = 4


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """20 noisy images in each of two folders."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for name, value in {"dark": 80, "light": 160}.items():
        (folder / name).mkdir()
        for number in range(20):
            image = np.clip(random.normal(value, 60, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / name / f"{number:02d}.png")
    return folder


def _recipe(images: Path, *overrides: str) -> Recipe:
    recipe = replace(tiny(registry.find("scratch")), task=ClassificationConfig())
    for each in (f"data.location={images}", "data.batch=8", "augment.crop=random_resized", *overrides):
        recipe = override(recipe, each)
    # Windows that end at steps 3 and 6, of which the second spans two epochs.
    return override(override(recipe, "track.window_steps=3"), "model.drop_path_rate=0.3")


def _context(recipe: Recipe) -> TrainContext:
    dataset = make_split(open_dataset.read(recipe.data.location))
    return build_context(resume_plan(recipe, Classification, dataset, None))


def _ended(context: TrainContext, folder: Path) -> dict[str, bytes]:
    """The weights and the windows of the run after it was resumed from its state in `folder`."""
    state = restore_state(context, folder) if state_file.list_states(folder / "state") else TrainState()
    loop.run(context, state, folder)
    return {path.name: path.read_bytes() for path in [*(folder / "weights").iterdir(), folder / "windows.csv"]}


@pytest.fixture(scope="module")
def uninterrupted(images, tmp_path_factory) -> dict[str, bytes]:
    return _ended(_context(_recipe(images)), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("number", "training", "at", "step"),
    [
        pytest.param(signal.SIGTERM, True, 1, 1, id="first step", marks=only_in_soak("1 s")),
        pytest.param(signal.SIGINT, True, 6, 6, id="middle"),
        pytest.param(signal.SIGTERM, True, 4, 4, id="last step of an epoch"),
        pytest.param(signal.SIGTERM, True, 8, 8, id="last step"),
        pytest.param(signal.SIGINT, False, 1, 4, id="validation"),
        pytest.param(signal.SIGTERM, False, 3, 8, id="last validation", marks=only_in_soak("1 s")),
    ],
)
def test_a_signal_ends_a_run_within_one_step_and_it_resumes_to_the_same_bytes(
    images, uninterrupted, tmp_path, number, training, at, step, capsys
):
    context = _context(_recipe(images))
    calls = 0

    def signalled(net: torch.nn.Module, *_: object) -> None:
        nonlocal calls
        calls += net.training == training
        if calls == at and net.training == training:
            os.kill(os.getpid(), number)

    (context.net if training else context.eval_model).register_forward_hook(signalled)
    if not training:
        context.val.batch_size = 4  # so that the signal comes between two of the batches
    with pytest.raises(KeyboardInterrupt):
        loop.run(context, TrainState(), tmp_path)
    assert f"stopped after step {step} of 8; continue with `resume={tmp_path}`" in capsys.readouterr().err
    assert (tmp_path / "weights" / "last.safetensors").exists()
    state = read_state(tmp_path)
    assert (state.total_step, len(state.rows)) == (step, (step - 1) // STEPS_PER_EPOCH)
    assert _ended(_context(_recipe(images)), tmp_path) == uninterrupted


def test_a_window_as_long_as_an_epoch_has_its_metrics(images, tmp_path):
    state = loop.run(
        _context(override(_recipe(images), f"track.window_steps={STEPS_PER_EPOCH}")), TrainState(), tmp_path
    )
    assert len(state.rows) == len(state.windows) == 2
    for row, window in zip(state.rows, state.windows, strict=True):
        assert window == {name: row[name] for name in window}
        assert set(window) == {"step", "train/loss", "train/accuracy_top1"}


def test_states_are_saved_every_so_many_steps_and_change_nothing(images, uninterrupted, tmp_path):
    context = _context(_recipe(images, "save.every=3"))
    made: list[str] = []
    context.net.register_forward_hook(
        lambda *_: made.extend(path.stem for path in state_file.list_states(tmp_path / "state"))
    )
    assert _ended(context, tmp_path) == uninterrupted
    assert sorted({int(name) for name in made}) == [3, 4, 7]  # counted anew from the end of an epoch, 4


@pytest.mark.parametrize("every", ["1", pytest.param("0.001s", marks=only_in_soak("2 s"))])
def test_a_run_that_begins_from_any_of_its_states_ends_the_same(images, uninterrupted, tmp_path, every):
    context = _context(_recipe(images, f"save.every={every}"))
    kept: dict[str, bytes] = {}
    context.net.register_forward_hook(
        lambda *_: kept.update({path.name: path.read_bytes() for path in state_file.list_states(tmp_path / "state")})
    )
    assert _ended(context, tmp_path) == uninterrupted
    assert len(kept) == 7
    for name in sorted(kept)[1::2]:
        (tmp_path / name / "state").mkdir(parents=True)
        (tmp_path / name / "state" / name).write_bytes(kept[name])
        ended = _ended(_context(_recipe(images)), tmp_path / name)
        assert ended["last.safetensors"] == uninterrupted["last.safetensors"], name


@only_in_soak("compiles for 40 s")
def test_a_compiled_step_trains_the_same_weights(images, tmp_path):
    losses, before = [], counters["stats"]["unique_graphs"]
    for compiled in ("false", "true"):
        recipe = override(_recipe(images, f"speed.compile={compiled}"), "model.drop_path_rate=0")
        state = TrainState()
        (tmp_path / compiled).mkdir()
        loop.run(_context(recipe), state, tmp_path / compiled)
        losses.append([row["train/loss"] for row in state.rows])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert counters["stats"]["unique_graphs"] > before


def _call(words: list[str], log: Path) -> None:
    leave_white()
    importlib.import_module("killed_runs").call(words, log)


@only_in_soak("11 s")
def test_a_run_survives_kills_at_random_moments(tmp_path, monkeypatch, capsys):
    """The short form of `make soak`, without its figures."""
    monkeypatch.syspath_prepend(SOAK)  # from which the processes import it
    killed_runs = importlib.import_module("killed_runs")
    monkeypatch.setattr(killed_runs, "call", _call)
    assert killed_runs.FORKS is forked_processes.FORKS
    assert killed_runs.soak(tmp_path, kills=1, seed=1, jobs=["adamw"], device="cpu") == 0
    assert "1 kills of " in capsys.readouterr().out
