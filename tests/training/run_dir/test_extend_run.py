from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import resnets
from resnets.errors import UserError
from resnets.training.run_dir import extend_run, run_dir, state_file
from resnets.training.run_dir.run_dir import TIMING_COLUMNS
from resnets.training.state import read_state


def _rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


def _weights(run: Path) -> list[bytes]:
    return [(run / "weights" / f"{name}.safetensors").read_bytes() for name in ("best", "last")]


def test_epochs_that_are_added_at_a_constant_rate_are_those_of_a_longer_run(train_run):
    constant = ("schedule.name=constant", "schedule.warmup_epochs=0", "data.val_fraction=0.4", "track.report=true")
    long, short = train_run("long", *constant, epochs=4), train_run("short", *constant, epochs=2)
    resnets.train(resume=short, epochs="+2")
    assert _rows(short) == _rows(long)
    assert _weights(short) == _weights(long)
    assert (short / "metrics.json").read_bytes() == (long / "metrics.json").read_bytes()
    text = (short / "recipe.toml").read_text()
    assert "epochs = 4  # given: --epochs +N after epoch 2" in text
    assert "imgsz = 32  # recipe scratch" in text  # the other origins stay
    assert run_dir.read_recipe(short / "recipe.toml").stop.epochs == 4


def test_the_cosine_of_the_longer_run_is_followed_from_there_on(train_run, capsys):
    cosine = ("schedule.warmup_epochs=0",)
    long, short = train_run("long", *cosine, epochs=4), train_run("short", *cosine, epochs=2)
    resnets.train(resume=short, epochs="+2")
    assert [row["lr"] for row in _rows(short)[2:]] == [row["lr"] for row in _rows(long)[2:]]
    stderr = capsys.readouterr().err
    assert "the learning rate continues at 0.5 of its highest value" in stderr
    assert "warning: at such a low learning rate" not in stderr
    resnets.train(resume=long, epochs="+1")
    stderr = capsys.readouterr().err
    assert "warning: at such a low learning rate these epochs will change little" in stderr
    assert "`epochs=+4`" in stderr


def test_epochs_are_added_to_steps_where_a_run_counts_in_steps(train_run):
    steps = ("stop.steps=3", "data.batch=32")
    run = train_run("steps", *steps, epochs=None)
    assert read_state(run).total_step == 3  # in the middle of the second epoch of two steps
    resnets.train(resume=run, epochs="+2")
    assert [row["step"] for row in _rows(run)] == [2, 3, 5, 7]


def test_a_run_that_stopped_early_gets_as_many_epochs_more(train_run):
    still = ("data.val_fraction=0.4", "optim.lr=1e-9", "optim.momentum=0", "freeze.norm=eval", "ema.decay=0")
    run = train_run("early", *still, epochs=5, patience=1)
    done = read_state(run)
    assert done.finished
    assert done.epoch < 5
    resnets.train(resume=run, epochs=f"+{5 - done.epoch}")  # as many as were planned at first
    assert read_state(run).epoch > done.epoch


def _unfinish(run: Path) -> None:
    """As a kill right after the first epoch of an extension leaves it."""
    newest, older = state_file.list_states(run / "state")[::-1]
    newest.unlink()
    assert not read_state(run).finished, older


def test_a_killed_extension_is_resumed_with_or_without_the_same_arguments(train_run):
    whole = train_run("whole", epochs=1)
    resnets.train(resume=whole, epochs="+2")
    plain, again = (shutil.copytree(whole, whole.with_name(name)) for name in ("plain", "again"))
    for run, words in ((plain, {}), (again, {"epochs": "+2"})):
        _unfinish(run)
        resnets.train(resume=run, **words)
        assert _rows(run) == _rows(whole)
        assert _weights(run) == _weights(whole)
    _unfinish(again)
    with pytest.raises(UserError, match="was extended before and is not finished"):
        resnets.train(resume=again, epochs="+3")


def test_epochs_are_only_added_to_a_finished_run(train_run):
    run = train_run("run", epochs=2)
    state_file.list_states(run / "state")[-1].unlink()
    with pytest.raises(UserError, match=r"adds epochs to a finished run; .* is not finished, after epoch 1"):
        resnets.train(resume=run, epochs="+2")


@pytest.mark.parametrize(
    ("text", "count"), [("+20", 20), ("+1", 1), ("20", None), ("+0", None), ("+-1", None), (20, None)]
)
def test_added_epochs_are_told_from_epochs(text, count):
    assert extend_run.parse_extra_epochs(text) == count
