from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import resnets
from resnets.errors import UserError
from resnets.training.run_dir import lock, resume_run, run_dir, state_file
from resnets.training.run_dir.run_dir import TIMING_COLUMNS


def _rows(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


def _weights(run: Path) -> list[bytes]:
    return [(run / "weights" / f"{name}.safetensors").read_bytes() for name in ("best", "last")]


OTHER = [
    ({"lr": 0.2}, ": optim.lr = 0.1, received 0.2"),
    ({"epochs": 9}, "`epochs=+N` adds epochs"),
    ({"overrides": ["task.label_smoothing=0.3"]}, "task.label_smoothing = 0.1, received 0.3"),
    ({"data": "nowhere"}, "No data at 'nowhere'"),
    ({"model": "resnet18"}, "model.name = tiny, received resnet18"),
    ({"recipe": "he2015_cifar"}, "received he2015_cifar"),
    ({"name": "other"}, "leave out `name=other`"),
    ({"dry_run": True}, "`dry_run` plans a new run"),
    ({"epochs": "+0"}, "stop.epochs must be at least 1"),
    ({"save_every": "often"}, "received 'often'"),
    ({"out": "elsewhere"}, "leave out `out=elsewhere`"),
]


def test_other_settings_are_refused_with_what_the_run_has(train_run):
    run = train_run("run", epochs=1, lr=0.1)
    before = _weights(run)
    for values, words in OTHER:
        with pytest.raises(UserError) as caught:
            resnets.train(**{"resume": run, **values})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert _weights(run) == before


def test_the_same_settings_and_those_of_the_machine_may_be_given(train_run, colors):
    run = train_run("run", epochs=1)
    values = {"epochs": 1, "batch": 32, "imgsz": 32, "device": "auto", "workers": 1, "cache": "off", "save_every": "7"}
    assert resnets.train(f"{colors}/", resume=run, model="tiny", name="run", **values) is not None
    assert run_dir.read_recipe(run / "recipe.toml").data.workers == 0


def test_a_resumed_run_has_no_new_head(train_run, colors, capsys):
    parent = train_run("parent", epochs=1)
    (colors / "red").rename(colors / "other red")
    run = train_run("run", epochs=1, weights=parent)
    assert "the head keeps its rows of 2 of 3 classes: 'blue', 'green'; new: 'other red'" in capsys.readouterr().err
    resnets.train(resume=run)
    printed = capsys.readouterr().err
    assert "the run is finished" in printed
    assert "head" not in printed


def test_a_new_run_names_the_stopped_one_of_the_same_name(train_run, capsys):
    run = train_run("run", epochs=2)
    state_file.list_states(run / "state")[-1].unlink()
    stopped = state_file.read_progress(run / "state")["total_step"]
    printed = capsys.readouterr().err
    assert printed.count("s of training left") == 1  # not after the last epoch
    second = train_run("run", epochs=1)
    assert f"'{run}' was stopped after step {stopped}; `resume={run}` continues it" in capsys.readouterr().err
    assert run_dir.earlier_run(second, "run") == run
    with lock.run_lock(second):
        assert train_run("run", epochs=1).name == "run-3"
    assert "was stopped" not in capsys.readouterr().err  # the second run is finished


def test_a_damaged_latest_state_costs_an_epoch_and_changes_nothing(train_run, capsys):
    run = train_run("run", epochs=3)
    rows, weights = _rows(run), _weights(run)
    newest = state_file.list_states(run / "state")[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    resnets.train(resume=run)
    stderr = capsys.readouterr().err
    assert f"'{newest}' is damaged" in stderr
    assert (_rows(run), _weights(run)) == (rows, weights)


def test_rows_after_the_last_state_and_temporary_files_are_removed(train_run):
    run = train_run("run", epochs=1)
    rows = _rows(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "st')
    for folder in (run, run / "state", run / "weights"):
        (folder / ".writing-abc.safetensors").write_bytes(b"half")
    resnets.train(resume=run)
    assert _rows(run) == rows
    assert list(run.rglob(".writing-*")) == []


def test_another_machine_is_logged(train_run, capsys):
    run = train_run("run", epochs=1)
    metadata = run_dir.read_environment(run)
    metadata["versions"]["torch"] = "1.0"
    metadata["machine"]["threads"] = 64
    run_dir.write_json(run / "environment.json", metadata)
    resnets.train(resume=run)
    stderr = capsys.readouterr().err
    assert "the last bits of the result may differ: torch 1.0 then, " in stderr
    assert "threads 64 then, " in stderr


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
    (tmp_path / "d" / "state").mkdir(parents=True)
    (tmp_path / "d" / "recipe.toml").write_text("")
    other = {f"{state_file.FORMAT_PREFIX}4": "0" * state_file.DIGEST_LENGTH + "{}"}
    save_file({"x": torch.zeros(1)}, tmp_path / "d" / "state" / "000000001.safetensors", metadata=other)
    with pytest.raises(UserError) as caught:
        resume_run.resumed_recipe(tmp_path, {}, ())
    message = str(caught.value)
    assert message.startswith(f"'{tmp_path}' is a folder of runs; name one of them with `resume`: ")
    assert f"'{tmp_path / 'a'}' (finished; `epochs=+N` adds epochs)" in message
    assert f"'{tmp_path / 'b'}' (can be resumed after step 4)" in message
    assert f"'{tmp_path / 'c'}' (no state saved)" in message
    assert f"'{tmp_path / 'd'}' (saved by another version of resnets)" in message
    assert message.index("(can be resumed") < message.index("(finished")
