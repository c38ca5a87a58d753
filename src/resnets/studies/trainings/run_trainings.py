"""Train what a study needs: what is known by its rows or its run is not trained again, what was interrupted is resumed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from resnets import atomic_write
from resnets.errors import DivergedError, JobError, UserError
from resnets.message_format import pluralize
from resnets.progress import log
from resnets.studies.inputs import TrainingImages
from resnets.studies.measurements.top1_error import error_on_files
from resnets.studies.trainings.training import (
    EPOCH_ERROR,
    QUANTITIES,
    RUNNING_ERROR,
    RUNNING_LOSS,
    SECONDS,
    TEST_ERROR,
    TRAIN_ERROR,
    Trained,
    Training,
    read_rows,
)  # fmt: skip
from resnets.training import train
from resnets.training.run_dir import run_dir, state_file
from resnets.training.run_dir.lock import RunLockedError, run_lock
from resnets.weights import checkpoint as checkpoints

ROWS, RUNS = "trainings.csv", "runs"  # in the folder of a study
LOCKS = ".locks"  # beside the folders of studies, by fingerprint
_ACCURACY = "accuracy_top1"  # in the files of a run
_DIGITS = 6  # after the point


class OtherStepsError(JobError):
    """A run has made other steps than its recipe says."""


@dataclass(frozen=True)
class Plan:
    """The trainings of a study.

    Attributes:
        folder: of the study. The runs are in it; those of other studies in folders beside it are found, too.
        known: the rows of finished trainings by fingerprint.
    """

    trainings: Sequence[Training]
    images: TrainingImages
    folder: Path
    known: dict[str, list[dict[str, Any]]]

    def fingerprint(self, training: Training) -> str:
        return training.fingerprint(self.images.digest)

    @property
    def missing(self) -> list[Training]:
        """The trainings whose rows are not known."""
        return [each for each in self.trainings if self.fingerprint(each) not in self.known]

    def find_run(self, training: Training, *, finished: bool = False) -> Path | None:
        """The run directory of a training; of several a finished one, else that with most steps; None if there is none.

        A run of another version of resnets, whose state cannot be read, is none.

        Args:
            finished: look for finished runs only.
        """
        pattern = f"*/{RUNS}/*-{self.fingerprint(training)}*/recipe.toml"
        runs = {each.parent: _steps(each.parent) for each in sorted(self.folder.parent.glob(pattern))}
        readable = sorted((run for run in runs if runs[run] is not None), key=lambda run: -(runs[run] or 0))
        others = [] if finished else readable
        return next(iter([*(run for run in readable if _is_finished(run)), *others]), None)

    def steps_left(self, training: Training) -> int:
        """The number of steps that a training still takes."""
        run = self.find_run(training)
        return (training.recipe.stop.steps or 0) - ((_steps(run) if run else None) or 0)


def make_plan(trainings: Sequence[Training], images: TrainingImages, folder: Path, rows: Sequence[Path]) -> Plan:
    """The trainings with the rows that are known from the study's folder and from the files `rows`.

    Raises:
        UserError: a file does not hold the rows of trainings.
    """
    own = [folder / ROWS] if (folder / ROWS).exists() else []
    return Plan(trainings, images, folder, read_rows([*own, *rows]))


def train_missing(plan: Plan, seeds: Sequence[int]) -> list[Training]:
    """Train what is missing of these seeds, one after the other; the rows of each are in the folder when it is finished.

    Returns:
        The trainings that ended with a loss that is not finite; they do not stop the others.

    Raises:
        RunLockedError: another process is still at one of them, after all others.
        JobError: a run has other steps than its recipe, after all others; or the disk is full.
        KeyboardInterrupt: Ctrl-C; the next call goes on.
    """
    write_rows(plan)  # those that were given are kept, whatever comes
    chosen = [each for each in plan.missing if each.recipe.seed in seeds]
    diverged: list[Training] = []
    locked: list[Training] = []
    failed: list[UserError | JobError] = []
    for number, training in enumerate(chosen, start=1):
        log(f"training {number} of {len(chosen)}: {_name(training)}")
        try:
            _finish(plan, training, diverged)
        except RunLockedError as error:
            log(f"{_name(training)} comes after the others: {error}")
            locked.append(training)
        except OtherStepsError as error:
            failed.append(error)
    for training in locked:  # the other process may have ended since
        try:
            _finish(plan, training, diverged)
        except RunLockedError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return diverged


def _finish(plan: Plan, training: Training, diverged: list[Training]) -> None:
    """Train to the end and write the rows, unless another process has done so; a diverged training is added to `diverged`.

    Raises:
        RunLockedError: another process is at this training, for any study.
    """
    lock = plan.folder.parent / LOCKS / plan.fingerprint(training)
    lock.mkdir(parents=True, exist_ok=True)
    with run_lock(lock):  # a run has a directory of its own only after its images were read
        _add_written_rows(plan)
        if training not in plan.missing:
            return
        try:
            plan.known[plan.fingerprint(training)] = _rows(plan, training, _train(plan, training))
        except DivergedError as error:
            log(f"warning: {_name(training)} has no result: {error}")
            diverged.append(training)
        else:
            write_rows(plan)


def _name(training: Training) -> str:
    return f"{training.network}, seed {training.recipe.seed}"


def finished(plan: Plan) -> dict[tuple[str, int], Trained]:
    """The finished trainings by network and seed."""
    return {
        (each.network, each.recipe.seed): Trained(
            each, plan.known[plan.fingerprint(each)], plan.find_run(each, finished=True)
        )
        for each in plan.trainings
        if plan.fingerprint(each) in plan.known
    }


def write_rows(plan: Plan) -> None:
    """Write the rows of the trainings of this study, also of those that another process has written there meanwhile."""
    if not plan.known:
        return
    fingerprints = [plan.fingerprint(each) for each in plan.trainings]
    with FileLock(plan.folder / f".{ROWS}.lock"):  # or the other process writes between the reading and the writing
        _add_written_rows(plan)
        others = [key for key in plan.known if key not in fingerprints]
        rows = [row for key in [*fingerprints, *others] for row in plan.known.get(key, [])]
        atomic_write.write_csv(plan.folder / ROWS, rows)


def _add_written_rows(plan: Plan) -> None:
    path = plan.folder / ROWS
    if path.exists():
        plan.known.update({key: rows for key, rows in read_rows([path]).items() if key not in plan.known})


def _steps(run: Path) -> int | None:
    """The steps that a run has made; None if its state cannot be read, as that of another version of resnets."""
    try:
        return int((state_file.read_progress(run / "state") or {"total_step": 0})["total_step"])
    except UserError:
        return None


def _is_finished(run: Path) -> bool:
    """Whether a run, whose state can be read, has ended and has written its metrics, so that nothing is left to do in it."""
    progress = state_file.read_progress(run / "state") or {"finished": False}
    # A kill can come between the state and the metrics, of which metrics.jsonl is the last file; resuming writes them.
    return bool(progress["finished"]) and _last_epoch(run)["step"] == progress["total_step"]


def _last_epoch(run: Path) -> dict[str, Any]:
    path = run / "metrics.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return json.loads(lines[-1]) if lines else {"step": 0}


def _train(plan: Plan, training: Training) -> Path:
    """The run directory of the training, after its last step."""
    run = plan.find_run(training)
    if run is None:
        name = f"{training.network}-seed{training.recipe.seed}-{plan.fingerprint(training)}".replace(" ", "-")
        result = train.train(plan.images.location, recipe=training.recipe, out=plan.folder / RUNS, name=name)
        assert result is not None  # only a dry run has none
        return result.run
    if not _is_finished(run):
        train.train(plan.images.location, resume=run)
    return run


def _rows(plan: Plan, training: Training, run: Path) -> list[dict[str, Any]]:
    by_step: dict[int, dict[str, float]] = {}
    with (run / "windows.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            running_error = 100 * (1 - float(row[f"train/{_ACCURACY}"]))
            by_step[int(row["step"])] = {RUNNING_ERROR: running_error, RUNNING_LOSS: float(row["train/loss"])}
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    if epochs[-1]["step"] != training.recipe.stop.steps:
        problem = f"'{run}' ended after step {epochs[-1]['step']}, and its training has {training.recipe.stop.steps}"
        raise OtherStepsError(f"{problem}: move it out of '{plan.folder.parent}', so that it is trained anew.")
    for each in epochs:
        by_step.setdefault(each["step"], {})[EPOCH_ERROR] = 100 * (1 - each[f"test/{_ACCURACY}"])
    last = by_step[epochs[-1]["step"]]
    checkpoint = checkpoints.read(run / "weights" / "last.safetensors")
    net = checkpoints.network(checkpoint)
    for key, images in ((TRAIN_ERROR, plan.images.train), (TEST_ERROR, plan.images.test)):
        last[key] = error_on_files(net, images, checkpoint.preprocess)
    last[SECONDS] = epochs[-1]["time_seconds"]
    same = {"training": plan.fingerprint(training), "network": training.network, "seed": training.recipe.seed}
    machine = _machine(run)
    return [
        {
            **same,
            "step": step,
            **{key: round(values[key], _DIGITS) if key in values else None for key in QUANTITIES},
            "machine": machine,
        }
        for step, values in sorted(by_step.items())
    ]


def _machine(run: Path) -> str:
    machine, speed = run_dir.read_environment(run).get("machine", {}), run_dir.read_recipe(run / "recipe.toml").speed
    if speed.device.startswith("cuda"):
        return f"{machine.get('gpu')}, {speed.precision}"
    return f"{machine.get('cpu')}, {pluralize(int(machine.get('threads', 1)), 'thread')}, {speed.precision}"
