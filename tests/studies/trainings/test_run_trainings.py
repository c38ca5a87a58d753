"""The trainings of a study: found again, resumed after a stop, extended, and combined with rows of other machines."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.studies import known_trainings

from resnets import atomic_write
from resnets.errors import JobError, UserError
from resnets.studies import registry, run_study, verdict
from resnets.studies.study import PROTOCOLS
from resnets.studies.study_result import StudyResult
from resnets.studies.trainings import cifar_training, cost, run_trainings
from resnets.studies.trainings.training import Training, read_rows
from resnets.training import loop
from resnets.training.run_dir import state_file
from resnets.training.run_dir.lock import RunLockedError

NAME = "degradation"
LOCK = """
import sys
from pathlib import Path

from resnets.training.run_dir.lock import run_lock

with run_lock(Path(sys.argv[1])):
    print(flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study with trainings of a few steps, each on one thread."""
    monkeypatch.setattr(cifar_training, "CONTROL_STEPS", 2)
    monkeypatch.setattr(cost, "rates", lambda *_: cost.Rates(1e9, 1e9))
    tiny = dict.fromkeys(PROTOCOLS, known_trainings.TINY)
    monkeypatch.setitem(registry.STUDIES, NAME, replace(registry.find(NAME), protocols=tiny))


def run(out: Path, **arguments: Any) -> StudyResult:
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
    assert "undecided (of 3 seeds these are not finished: 1, 2)" in results
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
    assert rows(tmp_path / "elsewhere") == before
    with pytest.raises(AssertionError, match="trained again"):
        run(out, only_seed=1)


def others(whole: Path, folder: Path, missing: Sequence[str]) -> dict[str, Any]:
    """The arguments with which only the `missing` networks are trained."""
    with (whole / NAME / run_trainings.ROWS).open(newline="") as file:
        table = [row for row in csv.DictReader(file) if row["network"] not in missing]
    atomic_write.write_csv(folder / "others.csv", table)
    return {"only_seed": 0, "rows": [folder / "others.csv"]}


class Steps:
    """Counts the steps of trainings, and sends Ctrl-C in one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, interrupted: int = 0) -> None:
        self.count, self.interrupted, self.step = 0, interrupted, loop.train_step
        monkeypatch.setattr(loop, "train_step", self)

    def __call__(self, *arguments: Any) -> Any:
        self.count += 1
        if self.count == self.interrupted:
            os.kill(os.getpid(), signal.SIGINT)
        return self.step(*arguments)


@pytest.mark.parametrize(
    ("missing", "interrupted", "left"),
    [
        (("plain-20", "plain-32"), 6, 2),  # the second of four steps of the second training
        (("plain-20", "plain-32"), 8, 0),  # its last step, before the test error is measured
        (("first-of-two", "second-of-two"), 4, 0),  # the last of one epoch
    ],
)
def test_a_training_that_was_interrupted_is_resumed(
    missing: Sequence[str],
    interrupted: int,
    left: int,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = others(whole, tmp_path, missing)
    with monkeypatch.context() as changed:
        Steps(changed, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, **given)
    assert {row["network"] for row in rows(whole)} - {row["network"] for row in rows(tmp_path)} == {missing[1]}
    steps = Steps(monkeypatch)
    run(tmp_path, **given)
    assert rows(tmp_path) == rows(whole)
    assert steps.count == left


@pytest.mark.parametrize("cut", [("metrics.jsonl",), ("metrics.jsonl", "windows.csv")])
@pytest.mark.parametrize("network", ["plain-32", "first-of-two"])
def test_metrics_that_a_kill_cut_off_are_written_again(
    cut: Sequence[str], network: str, whole: Path, tmp_path: Path
) -> None:
    """A run may be killed after its last state is saved, and before its last metrics are; metrics.jsonl is the last of them."""
    shutil.copytree(whole / NAME, tmp_path / NAME)
    (run_folder,) = (tmp_path / NAME / run_trainings.RUNS).glob(f"{network}-*")
    for name in cut:
        lines = (run_folder / name).read_text().splitlines(keepends=True)
        (run_folder / name).write_text("".join(lines[:-1]))
    (tmp_path / NAME / run_trainings.ROWS).unlink()
    run(tmp_path, only_seed=0)
    assert rows(tmp_path) == rows(whole)


def test_a_training_of_another_process_is_left_to_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = others(whole, tmp_path, ("plain-20", "plain-32"))
    with monkeypatch.context() as changed:
        Steps(changed, interrupted=2)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, **given)
    (begun,) = (tmp_path / NAME / run_trainings.RUNS).iterdir()
    with subprocess.Popen([sys.executable, "-c", LOCK, begun], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunLockedError, match=f"process {other.pid} on"):
            run(tmp_path, **given)
        assert {row["network"] for row in rows(whole)} - {row["network"] for row in rows(tmp_path)} == {"plain-20"}
        (tmp_path / NAME / run_trainings.ROWS).unlink()
        rows_of, released = run_trainings._rows, []

        def release(*arguments: Any) -> Any:
            """The other process ends while the second training is at its end."""
            other.kill()
            other.wait()
            released.append(arguments)
            return rows_of(*arguments)

        monkeypatch.setattr(run_trainings, "_rows", release)
        run(tmp_path, **given)
        assert len(released) == 2
    assert rows(tmp_path) == rows(whole)


@pytest.mark.parametrize("known", [True, False], ids=["its rows are known", "its rows are lost"])
def test_a_run_of_another_version_counts_as_none(
    known: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole / NAME, tmp_path / NAME)
    given = {"only_seed": 0} if known else others(whole, tmp_path, ("plain-20",))
    if not known:
        (tmp_path / NAME / run_trainings.ROWS).unlink()
    monkeypatch.setattr(state_file, "FORMAT", f"{state_file.FORMAT_PREFIX}7")
    steps = Steps(monkeypatch)
    run(tmp_path, **given)
    assert rows(tmp_path) == rows(whole)
    assert steps.count == (0 if known else 4)


def test_of_two_interrupted_runs_that_with_most_steps_is_resumed(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = others(whole, tmp_path, ("plain-20",))
    for other, interrupted in (("a", 2), ("b", 4)):
        with monkeypatch.context() as changed:
            Steps(changed, interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / other, **given)
        (tmp_path / other / NAME).rename(tmp_path / f"study-{other}")
    steps = Steps(monkeypatch)
    run(tmp_path, **given)
    assert rows(tmp_path) == rows(whole)
    assert steps.count == 0  # all four steps were made, before the kill


def test_a_run_with_other_steps_comes_after_the_others(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = others(whole, tmp_path, ("plain-20", "plain-32"))
    shutil.copytree(whole / NAME / run_trainings.RUNS, tmp_path / NAME / run_trainings.RUNS)
    (longer,) = (tmp_path / NAME / run_trainings.RUNS).glob("plain-20-*")
    lines = (longer / "metrics.jsonl").read_text().splitlines()
    (longer / "metrics.jsonl").write_text("\n".join(lines).replace('"step": 4', '"step": 5') + "\n")
    monkeypatch.setattr(run_trainings, "_is_finished", lambda run: True)
    with pytest.raises(
        JobError, match=r"plain-20-seed0-.*' ended after step 5, and its training has 4: move it out of"
    ):
        run(tmp_path, **given)
    assert {row["network"] for row in rows(whole)} - {row["network"] for row in rows(tmp_path)} == {"plain-20"}


def test_a_training_that_another_process_begins_is_not_begun_twice(whole: Path, tmp_path: Path) -> None:
    """Its images are read before there is a run; with a lock on each training nobody begins it meanwhile."""
    given = others(whole, tmp_path, ("plain-20", "plain-32"))
    first, *_ = read_rows([whole / NAME / run_trainings.ROWS])
    lock = tmp_path / run_trainings.LOCKS / first
    lock.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", LOCK, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(RunLockedError, match=f"process {other.pid} on"):
            run(tmp_path, **given)
        other.kill()
    assert {row["network"] for row in rows(whole)} - {row["network"] for row in rows(tmp_path)} == {"plain-20"}
    assert not list((tmp_path / NAME / run_trainings.RUNS).glob("plain-20-*"))


SEEDS = {0: [0, 2, 5], 3: [0, 1, 2, 4], 5: [0, 1, 2, 3, 4, 6, 7], 8: range(8)}


@pytest.mark.parametrize("look", SEEDS)
def test_the_largest_look_whose_seeds_are_finished_is_judged(
    look: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its own level, so that no look is added to those whose errors sum up to 5 %."""
    plan_of, table = run_trainings.make_plan, read_rows([whole / NAME / run_trainings.ROWS])

    def with_seeds(trainings: Sequence[Training], *arguments: Any) -> run_trainings.Plan:
        plan = plan_of(trainings, *arguments)
        by_name = {own[0]["network"]: own for own in table.values()}
        for each in trainings:
            if each.recipe.seed in SEEDS[look]:
                plan.known[plan.fingerprint(each)] = by_name[each.network]
        return plan

    monkeypatch.setattr(run_trainings, "make_plan", with_seeds)
    monkeypatch.setattr(run_trainings, "train_missing", lambda *_: [])
    result = run(tmp_path, seeds=8)
    judged = [note for note in result.measurement.notes if "are judged" in note]
    if not look:  # three seeds, and not the first three
        assert {each.word for each in result.verdicts.values()} == {"undecided"}
        assert all("not finished: 1, 3, 4, 6, 7" in each.reason for each in result.verdicts.values())
        assert not judged
        return
    for each in result.verdicts.values():
        assert each.interval.num_values == look
        assert each.confidence == 1 - verdict.LOOKS[look] / 2
        assert "not finished" not in each.reason
    assert any(f"seeds 0 to {look - 1} are judged" in note for note in judged) == (look < 8)


def test_a_loss_that_is_not_finite_leaves_the_others(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = registry.find(NAME)

    def runs(*arguments: Any) -> list[Training]:
        trainings = study.runs(*arguments)  # type: ignore[misc]
        first = trainings[0].recipe
        return [replace(trainings[0], recipe=replace(first, optim=replace(first.optim, lr=1e38))), *trainings[1:]]

    monkeypatch.setitem(registry.STUDIES, NAME, replace(study, runs=runs))
    result = run(tmp_path, **others(whole, tmp_path, ("plain-20", "plain-32")))
    assert {row["network"] for row in rows(whole)} - {row["network"] for row in rows(tmp_path)} == {"plain-20"}
    (reason,) = {each.reason for each in result.verdicts.values()}
    assert reason.startswith("of 3 seeds these are not finished: 0, 1, 2; the loss of plain-20, seed 0, was not finite")


def test_rows_of_a_study_that_calls_the_network_otherwise(whole: Path, tmp_path: Path) -> None:
    table = [
        row | {"network": f"other {row['network']}"}
        for row in csv.DictReader((whole / NAME / run_trainings.ROWS).open())
    ]
    atomic_write.write_csv(tmp_path / "others.csv", table)
    run(tmp_path, only_seed=0, rows=[tmp_path / "others.csv"])
    values = list(csv.DictReader((tmp_path / NAME / "values.csv").open()))
    assert values == list(csv.DictReader((whole / NAME / "values.csv").open()))


def test_trainings_of_one_seed_on_two_machines_are_named(whole: Path, tmp_path: Path) -> None:
    table = list(csv.DictReader((whole / NAME / run_trainings.ROWS).open()))
    table[0]["machine"] = "a GPU, fp16"
    atomic_write.write_csv(tmp_path / "others.csv", table)
    result = run(tmp_path, only_seed=0, rows=[tmp_path / "others.csv"])
    assert next(each for each in result.measurement.notes if "several machines" in each).startswith("seed 0 ")
    assert not any("several machines" in each for each in run(whole, only_seed=0).measurement.notes)


def test_another_recipe_or_other_images_are_another_training() -> None:
    first, *_ = registry.find(NAME).runs(known_trainings.TINY, [0])  # type: ignore[misc]
    same = replace(
        first, network="x", recipe=replace(first.recipe, name="x", speed=replace(first.recipe.speed, threads=1))
    )
    assert same.fingerprint("a") == first.fingerprint("a") != first.fingerprint("b")
    assert replace(first, copy=1).fingerprint("a") != first.fingerprint("a")
    for changed in (replace(first.recipe, seed=1), replace(first.recipe, optim=replace(first.recipe.optim, lr=0.2))):
        assert replace(first, recipe=changed).fingerprint("a") != first.fingerprint("a")


def test_rows_that_are_cut_off_are_refused(whole: Path, tmp_path: Path) -> None:
    lines = (whole / NAME / run_trainings.ROWS).read_text().splitlines(keepends=True)
    (tmp_path / "cut.csv").write_text("".join(lines[:2]))  # the first of two rows of the first training
    with pytest.raises(UserError, match=r"cut\.csv' has no test error of plain-20, seed 0 .*cut off"):
        run(tmp_path, rows=[tmp_path / "cut.csv"])


def test_rows_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("training,step\nx,1\n")
    with pytest.raises(UserError, match="does not hold the rows of trainings"):
        run(tmp_path, rows=[tmp_path / "a.csv"])
    (tmp_path / "long.csv").write_text(f"training\n{'x' * (csv.field_size_limit() + 1)}\n")
    with pytest.raises(UserError, match="does not hold the rows of trainings"):
        run(tmp_path, rows=[tmp_path / "long.csv"])
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
