from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_recipe import tiny

import resnets
from resnets.errors import UserError
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.training.run_dir import run_dir, run_inputs, state_file
from resnets.training.run_dir.run_dir import TIMING_COLUMNS


def _rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


def _weights(run: Path) -> list[bytes]:
    return [(run / "weights" / f"{name}.safetensors").read_bytes() for name in ("best", "last")]


def test_a_run_and_its_data_may_be_moved_and_their_content_is_checked(train_run, colors, tmp_path, monkeypatch):
    whole = train_run("whole", epochs=2)
    monkeypatch.chdir(colors.parent)
    recipe = override(override(tiny(registry.find("scratch")), "data.val_fraction=0"), "ema.decay=0.9")
    result = resnets.train("colors", recipe=recipe, epochs=2, out="runs", name="run")
    assert result is not None
    run = result.run.absolute()
    state_file.list_states(run / "state")[-1].unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resnets.train(resume=run)  # the data were given relative to the directory that it began in
    assert _rows(run) == _rows(whole)
    moved = colors.rename(tmp_path / "moved")
    run = run.rename(tmp_path / "moved run")
    with pytest.raises(UserError, match=r"no longer at 'colors'.*: resnets train DATA `resume='.*/moved run'`$"):
        resnets.train(resume=run)
    state_file.list_states(run / "state")[-1].unlink()
    resnets.train(moved, resume=run)
    assert _rows(run) == _rows(whole)
    assert resnets.train(resume=run) is not None  # it is known by now where they are
    moved = moved.rename(tmp_path / "moved again")
    with pytest.raises(UserError, match=r"no longer at 'colors'.*: resnets train DATA `resume="):
        resnets.train(resume=run)
    resnets.train(moved, resume=run)
    (moved / "red" / "00.png").write_bytes((moved / "red" / "01.png").read_bytes())
    with pytest.raises(UserError, match=r"1 changed \('red/00\.png'\)"):
        resnets.train(moved, resume=run)


def test_a_folder_with_the_name_of_a_builtin_dataset_does_not_replace_it_in_a_resumed_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "run"
    (tmp_path / "runs" / "shapes").mkdir(parents=True)
    run_dir.write_environment(run)
    assert run_inputs.find_data(run, "shapes") == "shapes"
    run_dir.write_environment(run, data=str(tmp_path / "runs" / "shapes"))  # it began with this folder
    assert run_inputs.find_data(run, "shapes") == str(tmp_path / "runs" / "shapes")


def test_the_initial_weights_may_be_missing_once_a_state_was_saved(train_run, colors):
    weights = colors.parent / "weights.safetensors"
    weights.write_bytes(_weights(train_run("parent", epochs=1))[1])
    recipe = override(override(tiny(registry.find("finetune")), "data.val_fraction=0"), "freeze.head_epochs=0")
    result = resnets.train(colors, recipe=recipe, weights=weights, epochs=2, out=colors.parent / "runs", name="whole")
    assert result is not None
    runs = [result.run, shutil.copytree(result.run, result.run.with_name("child"))]
    weights.unlink()
    state_file.list_states(runs[1] / "state")[-1].unlink()
    resnets.train(resume=runs[1])
    assert _rows(runs[1]) == _rows(runs[0])
    assert _weights(runs[1]) == _weights(runs[0])
    for state in state_file.list_states(runs[1] / "state"):
        state.unlink()
    with pytest.raises(UserError, match="no checkpoint"):
        resnets.train(resume=runs[1])


def test_changed_weights_and_a_changed_split_are_refused(train_run, colors):
    parent = train_run("parent", epochs=1)
    weights = colors.parent / "weights.safetensors"
    weights.write_bytes(_weights(parent)[1])
    child = resnets.train(
        colors, recipe=tiny(registry.find("finetune")), weights=weights, epochs=1, out=colors.parent / "runs"
    )
    assert child is not None
    for asked in ("none", False):
        with pytest.raises(UserError, match=r"with its own settings: model\.weights = .*, received none"):
            resnets.train(resume=child.run, weights=asked)
    weights.write_bytes(_weights(train_run("another", epochs=1, seed=5))[1])
    with pytest.raises(UserError, match=r"weights.safetensors' were changed since the run started from them"):
        resnets.train(resume=child.run)
    split = parent / "split.csv"
    split.write_text(split.read_text().replace("train,", "val,", 1))
    with pytest.raises(UserError, match=r"split.csv' was changed since the run started"):
        resnets.train(resume=parent)
