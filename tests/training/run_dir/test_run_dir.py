from __future__ import annotations

import csv
import json

import pytest

from resnets.errors import JobError, UserError
from resnets.recipes.override import override
from resnets.recipes.recipe import Data, Recipe, Schedule
from resnets.training.run_dir import run_dir


def test_a_run_is_never_overwritten(tmp_path):
    assert [run_dir.create_run_dir(tmp_path / "runs", "a").name for _ in range(3)] == ["a", "a-2", "a-3"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp"])
def test_a_name_is_one_folder_name(tmp_path, name):
    with pytest.raises(UserError, match="name of one folder"):
        run_dir.create_run_dir(tmp_path, name)


def test_a_file_where_runs_should_go_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises((UserError, JobError), match="runs"):
        run_dir.create_run_dir(tmp_path / "runs", "a")


def test_a_recipe_is_restored_from_its_file(tmp_path):
    recipe = Recipe(
        name="mine",
        data=Data(location='a "strange" \\ name — ü', batch=32, imgsz=None),
        schedule=Schedule(name="step", milestones_steps=(3, 5), factors=(0.5, 0.1)),
    )
    recipe = override(override(recipe, "model.name=none"), "optim.clip_norm=1")
    run_dir.write_recipe(tmp_path, recipe, {"data.batch": "given: --batch"})
    text = (tmp_path / "recipe.toml").read_text()
    assert "batch = 32  # given: --batch" in text
    assert "lr = 0.1  # recipe mine" in text
    assert "# imgsz is not set" in text
    assert run_dir.read_recipe(tmp_path / "recipe.toml") == recipe


def test_a_folder_that_is_not_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        run_dir.read_recipe(tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_text("name = \n")
    with pytest.raises(UserError, match="damaged"):
        run_dir.read_recipe(tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_text("[optim]\nspeed = 3\n")
    with pytest.raises(UserError, match=r"optim\.speed"):
        run_dir.read_recipe(tmp_path / "recipe.toml")


def test_rows_are_written_twice(tmp_path):
    rows = [{"epoch": 1, "step": 9, "train/loss": 0.5, "val/loss": None}, {"epoch": 2, "step": 18, "train/loss": 0.25}]
    run_dir.write_metrics(tmp_path, rows, [{"step": 5, "train/loss": 0.625}])
    assert (tmp_path / "windows.csv").read_text() == "step,train/loss\n5,0.625\n"
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == rows
    table = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["train/loss"] for row in table] == ["0.5", "0.25"]
    assert table[0]["val/loss"] == ""
    assert list(table[0]) == ["epoch", "step", "train/loss", "val/loss"]


def test_the_environment_names_versions_and_machine(tmp_path):
    run_dir.write_environment(tmp_path, versions=run_dir.versions())
    metadata = json.loads((tmp_path / "environment.json").read_text())
    assert metadata["versions"]["torch"]
    assert metadata["machine"]["cpu"]
