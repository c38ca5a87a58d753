"""The trainings of a study: found again, resumed after a stop, extended, and combined with rows of other machines."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.studies import known_trainings

from resnets.errors import UserError
from resnets.studies import registry, run_study
from resnets.studies.study import PROTOCOLS
from resnets.studies.trainings import cifar_training, cost, run_trainings
from resnets.training import loop

NAME = "degradation"


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study with trainings of a few steps, each on one thread."""
    monkeypatch.setattr(cifar_training, "CONTROL_STEPS", 2)
    monkeypatch.setattr(cost, "flops_per_second", lambda: 1e9)
    tiny = dict.fromkeys(PROTOCOLS, known_trainings.TINY)
    monkeypatch.setitem(registry.STUDIES, NAME, replace(registry.find(NAME), protocols=tiny))


def run(out: Path, **arguments: Any) -> run_study.StudyResult:
    return run_study.run(NAME, data=known_trainings.folder(), out=out, **arguments)


def rows(out: Path) -> list[dict[str, str]]:
    """What is kept of the trainings, without what a repetition changes."""
    table = list(csv.DictReader((out / NAME / run_trainings.ROWS).open()))
    return [{key: value for key, value in row.items() if key != "train_seconds"} for row in table]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of the trainings of seed 0; not to be changed."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tiny.__wrapped__(monkeypatch)  # type: ignore[attr-defined]
        run(out, only_seed=0)
    return out


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("it was trained again")


def test_one_seed_of_three_is_trained_and_judged_undecided(whole: Path) -> None:
    table = rows(whole)
    assert len({row["training"] for row in table}) == 6
    assert {row["seed"] for row in table} == {"0"}
    ends = [row for row in table if row["test_error"]]
    assert len(ends) == 6
    # Ten images in test: the error of the last epoch, at the precision of the training, and that in fp32.
    assert all(abs(float(row["test_error"]) - float(row["epoch_test_error"])) <= 10 for row in ends)
    assert [row["step"] for row in table if row["network"] == "plain-32"] == ["2", "4"]
    results = (whole / NAME / "report.md").read_text()
    assert "1 values are too few" in results or "1 values give no interval" in results
    assert "one network trained twice, seed 0: losses up to 0 apart; held" in results
    assert "failed" not in results


def test_what_is_finished_is_not_trained_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(whole)
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    monkeypatch.setattr(run_trainings.train, "train", refuse)
    run(out, only_seed=0)
    assert rows(out) == before
    # Without the rows, from the run directories; without these, from the rows; those of another study's folder, too.
    (out / NAME / run_trainings.ROWS).unlink()
    (out / NAME).rename(out / "other")
    run(out, only_seed=0)
    assert rows(out) == before
    run(tmp_path / "elsewhere", only_seed=0, rows=[whole / NAME / run_trainings.ROWS])
    with pytest.raises(AssertionError, match="trained again"):
        run(out, only_seed=1)


def test_a_training_that_was_interrupted_is_resumed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (whole / NAME / run_trainings.ROWS).read_text().splitlines(keepends=True)
    (tmp_path / "others.csv").write_text(
        "".join([known[0], *known[5:]])
    )  # of all but the first two, with two rows each
    given = {"only_seed": 0, "rows": [tmp_path / "others.csv"]}
    step, calls = loop.train_step, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 6:  # the second step of the second training
            os.kill(os.getpid(), signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, **given)
    assert len(rows(tmp_path)) == len(rows(whole)) - 2  # without the second training
    calls.clear()
    monkeypatch.setattr(loop, "train_step", lambda *arguments: (calls.append(arguments), step(*arguments))[1])
    run(tmp_path, **given)
    assert rows(tmp_path) == rows(whole)
    assert len(calls) == 2


def test_another_recipe_or_other_images_are_another_training() -> None:
    first, *_ = registry.find(NAME).runs(known_trainings.TINY, [0])  # type: ignore[misc]
    same = replace(
        first, network="x", recipe=replace(first.recipe, name="x", speed=replace(first.recipe.speed, threads=1))
    )
    assert same.fingerprint("a") == first.fingerprint("a") != first.fingerprint("b")
    assert replace(first, copy=1).fingerprint("a") != first.fingerprint("a")
    for changed in (replace(first.recipe, seed=1), replace(first.recipe, optim=replace(first.recipe.optim, lr=0.2))):
        assert replace(first, recipe=changed).fingerprint("a") != first.fingerprint("a")


def test_rows_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("training,step\nx,1\n")
    with pytest.raises(UserError, match="does not hold the rows of trainings"):
        run(tmp_path, rows=[tmp_path / "a.csv"])
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path, rows=[tmp_path / "b.csv"])
    with pytest.raises(UserError, match="`only_seed` is one of 0, 1, 2; received 3"):
        run(tmp_path, only_seed=3)
    with pytest.raises(UserError, match="'shattering' trains nothing"):
        run_study.run("shattering", only_seed=0, out=tmp_path)
    with pytest.raises(UserError, match="a train and a test split"):
        run_study.run(NAME, data=known_trainings.folder() / "train", out=tmp_path)
    with pytest.raises(UserError, match="needs images to train on"):
        run_study.run(NAME, out=tmp_path)
