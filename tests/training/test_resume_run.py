from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnets.errors import UserError
from resnets.recipes import registry
from resnets.recipes.override import override
from resnets.recipes.recipe import tiny
from resnets.training import resume_run
from resnets.training import train as training
from resnets.training.run_dir import run_dir, state_file
from resnets.training.run_dir.run_dir import TIMING_COLUMNS
from resnets.training.state import read_state

Train = Callable[..., Path]


@pytest.fixture
def train(colors: Path) -> Train:
    """Train a tiny run, without images to validate on unless they are asked for, since the report takes longest."""

    def run(name: str, *overrides: str, **values: Any) -> Path:
        recipe = override(override(tiny(registry.find("scratch")), "data.val_fraction=0"), "ema.decay=0.9")
        result = training.train(
            colors, recipe=recipe, out=colors.parent / "runs", name=name, overrides=overrides, **values
        )
        assert result is not None
        return result.run

    return run


def _rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


def _weights(run: Path) -> list[bytes]:
    return [(run / "weights" / f"{name}.safetensors").read_bytes() for name in ("best", "last")]


def test_epochs_that_are_added_at_a_constant_rate_are_those_of_a_longer_run(train):
    constant = ("schedule.name=constant", "schedule.warmup_epochs=0", "data.val_fraction=0.4")
    long, short = train("long", *constant, epochs=4), train("short", *constant, epochs=2)
    training.train(resume=short, epochs="+2")
    assert _rows(short) == _rows(long)
    assert _weights(short) == _weights(long)
    assert (short / "metrics.json").read_bytes() == (long / "metrics.json").read_bytes()
    text = (short / "recipe.toml").read_text()
    assert "epochs = 4  # given: --epochs +N after epoch 2" in text
    assert "imgsz = 32  # recipe scratch" in text  # the other origins stay
    assert run_dir.read_recipe(short / "recipe.toml").stop.epochs == 4


def test_the_cosine_of_the_longer_run_is_followed_from_there_on(train, capsys):
    cosine = ("schedule.warmup_epochs=0",)
    long, short = train("long", *cosine, epochs=4), train("short", *cosine, epochs=2)
    training.train(resume=short, epochs="+2")
    assert [row["lr"] for row in _rows(short)[2:]] == [row["lr"] for row in _rows(long)[2:]]
    stderr = capsys.readouterr().err
    assert "the learning rate continues at 0.5 of its highest value" in stderr
    assert "warning: at such a low learning rate" not in stderr
    training.train(resume=long, epochs="+1")
    stderr = capsys.readouterr().err
    assert "warning: at such a low learning rate these epochs will change little" in stderr
    assert "`epochs=+4`" in stderr


def test_epochs_are_added_to_steps_where_a_run_counts_in_steps(train):
    steps = ("stop.steps=3", "data.batch=32")
    run = train("steps", *steps, epochs=None)
    assert read_state(run).total_step == 3  # in the middle of the second epoch of two steps
    training.train(resume=run, epochs="+2")
    assert [row["step"] for row in _rows(run)] == [2, 3, 5, 7]


def test_a_run_that_stopped_early_gets_as_many_epochs_more(train):
    still = ("data.val_fraction=0.4", "optim.lr=1e-9", "optim.momentum=0", "freeze.norm=eval", "ema.decay=0")
    run = train("early", *still, epochs=5, patience=1)
    done = read_state(run)
    assert done.finished
    assert done.epoch < 5
    training.train(resume=run, epochs=f"+{5 - done.epoch}")  # as many as were planned at first
    assert read_state(run).epoch > done.epoch


def _unfinish(run: Path) -> None:
    """As a kill right after the first epoch of an extension leaves it."""
    newest, older = state_file.list_states(run / "state")[::-1]
    newest.unlink()
    assert not read_state(run).finished, older


def test_a_killed_extension_is_resumed_with_or_without_the_same_arguments(train):
    whole, plain, again = (train(name, epochs=1) for name in ("whole", "plain", "again"))
    for run in (whole, plain, again):
        training.train(resume=run, epochs="+2")
    for run, words in ((plain, {}), (again, {"epochs": "+2"})):
        _unfinish(run)
        training.train(resume=run, **words)
        assert _rows(run) == _rows(whole)
        assert _weights(run) == _weights(whole)
    _unfinish(again)
    with pytest.raises(UserError, match="was extended before and is not finished"):
        training.train(resume=again, epochs="+3")


OTHER = [
    ({"lr": 0.2}, ": optim.lr = 0.1, received 0.2"),
    ({"epochs": 9}, "`epochs=+N` adds epochs"),
    ({"overrides": ["loss.label_smoothing=0.3"]}, "loss.label_smoothing = 0.1, received 0.3"),
    ({"data": "nowhere"}, "No data at 'nowhere'"),
    ({"model": "resnet18"}, "model.name = tiny, received resnet18"),
    ({"recipe": "he2015_cifar"}, "received he2015_cifar"),
    ({"name": "other"}, "leave out `name=other`"),
    ({"dry_run": True}, "`dry_run` plans a new run"),
    ({"epochs": "+0"}, "stop.epochs must be at least 1"),
    ({"save_every": "often"}, "received 'often'"),
    ({"out": "elsewhere"}, "leave out `out=elsewhere`"),
]


def test_other_settings_are_refused_with_what_the_run_has(train):
    run = train("run", epochs=1, lr=0.1)
    before = _weights(run)
    for values, words in OTHER:
        with pytest.raises(UserError) as caught:
            training.train(**{"resume": run, **values})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert _weights(run) == before


def test_the_same_settings_and_those_of_the_machine_may_be_given(train, colors):
    run = train("run", epochs=1)
    values = {"epochs": 1, "batch": 32, "imgsz": 32, "device": "auto", "workers": 1, "cache": "off", "save_every": "7"}
    assert training.train(f"{colors}/", resume=run, model="tiny", name="run", **values) is not None
    assert run_dir.read_recipe(run / "recipe.toml").data.workers == 0


def test_a_run_and_its_data_may_be_moved_and_their_content_is_checked(train, colors, tmp_path, monkeypatch):
    whole = train("whole", epochs=2)
    monkeypatch.chdir(colors.parent)
    recipe = override(override(tiny(registry.find("scratch")), "data.val_fraction=0"), "ema.decay=0.9")
    result = training.train("colors", recipe=recipe, epochs=2, out="runs", name="run")
    assert result is not None
    run = result.run.absolute()
    state_file.list_states(run / "state")[-1].unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    training.train(resume=run)  # the data were given relative to the directory that it began in
    assert _rows(run) == _rows(whole)
    moved = colors.rename(tmp_path / "moved")
    run = run.rename(tmp_path / "moved run")
    with pytest.raises(UserError, match=r"no longer at 'colors'.*: resnets train DATA `resume='.*/moved run'`$"):
        training.train(resume=run)
    state_file.list_states(run / "state")[-1].unlink()
    training.train(moved, resume=run)
    assert _rows(run) == _rows(whole)
    assert training.train(resume=run) is not None  # it is known by now where they are
    moved = moved.rename(tmp_path / "moved again")
    with pytest.raises(UserError, match=r"no longer at 'colors'.*: resnets train DATA `resume="):
        training.train(resume=run)
    training.train(moved, resume=run)
    (moved / "red" / "00.png").write_bytes((moved / "red" / "01.png").read_bytes())
    with pytest.raises(UserError, match=r"1 changed \('red/00\.png'\)"):
        training.train(moved, resume=run)


def test_the_initial_weights_may_be_missing_once_a_state_was_saved(train, colors):
    weights = colors.parent / "weights.safetensors"
    weights.write_bytes(_weights(train("parent", epochs=1))[1])
    recipe = override(override(tiny(registry.find("finetune")), "data.val_fraction=0"), "freeze.head_epochs=0")
    runs = []
    for name in ("whole", "child"):
        out = colors.parent / "runs"
        result = training.train(colors, recipe=recipe, weights=weights, epochs=2, out=out, name=name)
        assert result is not None
        runs.append(result.run)
    weights.unlink()
    state_file.list_states(runs[1] / "state")[-1].unlink()
    training.train(resume=runs[1])
    assert _rows(runs[1]) == _rows(runs[0])
    assert _weights(runs[1]) == _weights(runs[0])
    for state in state_file.list_states(runs[1] / "state"):
        state.unlink()
    with pytest.raises(UserError, match="no checkpoint"):
        training.train(resume=runs[1])


def test_epochs_are_only_added_to_a_finished_run(train):
    run = train("run", epochs=2)
    state_file.list_states(run / "state")[-1].unlink()
    with pytest.raises(UserError, match=r"adds epochs to a finished run; .* is not finished, after epoch 1"):
        training.train(resume=run, epochs="+2")


def test_changed_weights_and_a_changed_split_are_refused(train, colors):
    parent = train("parent", epochs=1)
    weights = colors.parent / "weights.safetensors"
    weights.write_bytes(_weights(parent)[1])
    child = training.train(
        colors, recipe=tiny(registry.find("finetune")), weights=weights, epochs=1, out=colors.parent / "runs"
    )
    assert child is not None
    for asked in ("none", False):
        with pytest.raises(UserError, match=r"with its own settings: model\.weights = .*, received none"):
            training.train(resume=child.run, weights=asked)
    weights.write_bytes(_weights(train("another", epochs=1, seed=5))[1])
    with pytest.raises(UserError, match=r"weights.safetensors' were changed since the run started from them"):
        training.train(resume=child.run)
    split = parent / "split.csv"
    split.write_text(split.read_text().replace("train,", "val,", 1))
    with pytest.raises(UserError, match=r"split.csv' was changed since the run started"):
        training.train(resume=parent)


def test_a_damaged_latest_state_costs_an_epoch_and_changes_nothing(train, capsys):
    run = train("run", epochs=3)
    rows, weights = _rows(run), _weights(run)
    newest = state_file.list_states(run / "state")[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    training.train(resume=run)
    stderr = capsys.readouterr().err
    assert f"'{newest}' is damaged" in stderr
    assert (_rows(run), _weights(run)) == (rows, weights)


def test_rows_after_the_last_state_and_temporary_files_are_removed(train):
    run = train("run", epochs=1)
    rows = _rows(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "st')
    for folder in (run, run / "state", run / "weights"):
        (folder / ".writing-abc.safetensors").write_bytes(b"half")
    training.train(resume=run)
    assert _rows(run) == rows
    assert list(run.rglob(".writing-*")) == []


def test_another_machine_is_logged(train, capsys):
    run = train("run", epochs=1)
    facts = run_dir.read_environment(run)
    facts["versions"]["torch"] = "1.0"
    facts["machine"]["threads"] = 64
    run_dir.write_json(run / "environment.json", facts)
    training.train(resume=run)
    stderr = capsys.readouterr().err
    assert "the last bits of the result may differ: torch 1.0 then, " in stderr
    assert "threads 64 then, " in stderr


@pytest.mark.parametrize(
    ("text", "count"), [("+20", 20), ("+1", 1), ("20", None), ("+0", None), ("+-1", None), (20, None)]
)
def test_added_epochs_are_told_from_epochs(text, count):
    assert resume_run.more_epochs(text) == count


def test_a_folder_of_runs_is_listed_with_what_can_be_resumed(tmp_path):
    for name, progress in {
        "a": {"finished": True, "total_step": 9},
        "b": {"finished": False, "total_step": 4},
        "c": None,
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text("")
        if progress is not None:
            state_file.save(tmp_path / name / "state", 1, {"x": torch.zeros(1)}, {"state": progress})
    with pytest.raises(UserError) as caught:
        resume_run.resumed_recipe(tmp_path, {}, ())
    message = str(caught.value)
    assert message.startswith(f"'{tmp_path}' is a folder of runs; name one of them with `resume`: ")
    assert f"'{tmp_path / 'a'}' (finished; `epochs=+N` adds epochs)" in message
    assert f"'{tmp_path / 'b'}' (can be resumed after step 4)" in message
    assert f"'{tmp_path / 'c'}' (no state saved)" in message
    assert message.index("(can be resumed") < message.index("(finished")
