"""Kill training runs with SIGKILL at random moments, resume them, and compare the end with a run that was never killed.

    python tests/soak/killed_runs.py --kills 40 --seed 0

A run is killed up to three times, each time either at a random moment or in the middle of writing a file after a
random moment, and then resumed until it ends. `best`, `last`, the predictions and the metrics must have the same bytes
as those of the whole run, `metrics.jsonl` and `results.csv` the same values but for the columns of the clock, and the
final states the same tensors. The moments follow from `--seed`, but the machine's speed decides what they hit. The
processes are real ones, forked from one that has torch imported already. The exit code is 1 when anything differs.
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from safetensors import safe_open

from resnets.atomic_write import TEMPORARY_PREFIX
from resnets.cli.main import main
from resnets.training.run_dir.run_dir import TIMING_COLUMNS

MOST_KILLS = 3  # of one run
PATIENCE = 300  # seconds for one process, which needs five
COMMON = "--batch 16 --epochs 3 --precision fp32 --set speed.threads=1 --set speed.deterministic=true"
# Between them everything that a next step may depend on is in use.
JOBS = {
    "sgd": "--model tiny --imgsz 32 --workers 1 --set model.drop_path_rate=0.3 --set ema.decay=0.9 "
    "--set augment.crop=random_resized --set augment.mixup_alpha=0.2",
    "adamw": "--model tiny --imgsz 32 --workers 0 --set optim.name=adamw --set optim.lr=0.003 --set schedule.name=one_cycle "
    "--set augment.crop=pad --set augment.cutmix_alpha=1 --set model.drop_path_rate=0.2 --patience 2",
    "he2015": "--model tiny --imgsz 32 --workers 0 --recipe he2015_cifar --set schedule.milestones_steps=8,14 "
    "--set data.balance=sampler",
    "light": "--task segmentation --model light_tiny --imgsz 64 --workers 1 --set task.scale_jitter=0.5,1.5 "
    "--set task.loss=ce+lovasz --set task.decoder_channels=16 --set ema.decay=0.9",
    "yolov3": "--model yolov3_light_tiny --imgsz 64 --workers 1 --set task.mosaic=0.5 --set task.multiscale=true "
    "--set ema.decay=0.9 --set task.neck_channels=32",
}
BEGINS, ENDS = "prepared images are kept", "\nepoch 3:"  # lines between which a run trains
MOMENTS = ("3", "1", "0.1s", "300s")  # values of --save-every
FOLDERS = {"a state": "state", "weights": "weights", "the metrics or the report": "."}
SAME = ("weights/best.safetensors", "weights/last.safetensors", "metrics.json", "per_class.csv")
IMAGES = ("predictions.csv", "per_image.csv")  # tables with a row for each image, of which a task writes one

FORKS = multiprocessing.get_context("forkserver")


def call(words: list[str], log: Path) -> None:
    """In a process of its own: the command line, with everything that it says in `log`."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    multiprocessing.set_start_method(
        None, force=True
    )  # for its own workers, which end with it if they are forked from it
    sys.exit(main(words))


class Trial:
    """One run that is killed now and then."""

    def __init__(self, folder: Path, words: list[str], chance: random.Random, times: tuple[float, float]) -> None:
        self.run, self.log, self.chance = folder / "run", folder / "log", chance
        self.words, self.times = [*words, "--out", str(folder), "--name", "run"], times
        self.hits: list[str] = []

    def process(self) -> multiprocessing.process.BaseProcess:
        """The next attempt: from the beginning if not even the recipe was written, else a resumption."""
        words = self.words
        if (self.run / "recipe.toml").exists():
            words = ["train", "--resume", str(self.run), "--save-every", self.chance.choice(MOMENTS)]
        else:
            shutil.rmtree(self.run, ignore_errors=True)
        process = FORKS.Process(target=call, args=(words, self.log))
        process.start()
        return process

    def kill(self) -> bool:
        """Start, and kill at some moment; False when the run was faster."""
        process = self.process()
        training, whole = self.times
        if self.chance.random() < 0.2:
            process.join(self.chance.uniform(0, whole))
        else:
            _await(BEGINS, self.log, process)
            process.join(self.chance.uniform(0, training))
        if self.chance.random() < 0.6:
            target = self.chance.choice(list(FOLDERS))
            while process.is_alive() and not self.unfinished([target]):
                process.join(0.001)
        alive = process.is_alive()
        process.kill()
        process.join()
        alive = alive and process.exitcode == -9
        if alive:
            self.hits.append(self.what_was_hit())
        elif process.exitcode != 0:
            raise SystemExit(f"exit code {process.exitcode}: {self.log.read_text()}")
        return alive

    def unfinished(self, folders: Iterable[str]) -> list[str]:
        """Return those of the folders in which a file is half written."""
        return [
            trial_folder
            for trial_folder in folders
            if any((self.run / FOLDERS[trial_folder]).glob(f"{TEMPORARY_PREFIX}*"))
        ]

    def what_was_hit(self) -> str:
        if torn := self.unfinished(FOLDERS):
            return f"while writing {torn[0]}"
        if not (self.run / "state").exists():
            return "before the first state"
        return "in the report" if ENDS in self.log.read_text() else "between two files"

    def finish(self) -> None:
        process = self.process()
        process.join(PATIENCE)
        if process.exitcode != 0:
            process.kill()
            raise SystemExit(f"exit code {process.exitcode}: {self.log.read_text()}")


def differences(run: Path, whole: Path) -> list[str]:
    """What of the ended run is not as in the whole one."""
    tables = [name for name in IMAGES if (whole / name).exists()]
    found = [name for name in (*SAME, *tables) if (run / name).read_bytes() != (whole / name).read_bytes()]
    found += ["no table of images"] * (len(tables) != 1)
    found += ["metrics.jsonl"] * (_rows(run) != _rows(whole)) + ["results.csv"] * (_table(run) != _table(whole))
    found += ["state"] * (_last_tensors(run) != _last_tensors(whole))
    return found + [str(path) for path in run.rglob(f"{TEMPORARY_PREFIX}*")]


def _rows(run: Path) -> list[list[tuple[str, object]]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[(name, value) for name, value in row.items() if name not in TIMING_COLUMNS] for row in rows]


def _table(run: Path) -> list[list[tuple[str, str]]]:
    with (run / "results.csv").open() as file:
        return [[(n, v) for n, v in row.items() if n not in TIMING_COLUMNS] for row in csv.DictReader(file)]


def _last_tensors(run: Path) -> dict[str, bytes]:
    with safe_open(max((run / "state").glob("[0-9]*.safetensors")), framework="np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def _await(words: str, log: Path, process: multiprocessing.process.BaseProcess) -> float:
    """The time at which `words` stand in the log, or at which the process has ended."""
    while process.is_alive() and not (log.exists() and words in log.read_text()):
        process.join(0.002)
    return time.monotonic()


def whole_run(folder: Path, words: list[str]) -> tuple[float, float]:
    """The run that nothing interrupts; how long its training and all of it took, in seconds."""
    start, log = time.monotonic(), folder / "log"
    process = FORKS.Process(target=call, args=([*words, "--out", str(folder), "--name", "run"], log))
    process.start()
    begin, end = _await(BEGINS, log, process), _await(ENDS, log, process)
    process.join(PATIENCE)
    text = log.read_text()
    if process.exitcode != 0 or BEGINS not in text or ENDS not in text:
        raise SystemExit(f"This whole run did not print {BEGINS!r} and {ENDS!r}:\n{text}")
    return end - begin, time.monotonic() - start


def soak(folder: Path, kills: int, seed: int, jobs: list[str], device: str) -> int:
    """Kill until there were so many; prints each trial, and gives the number of runs that ended otherwise."""
    chance = random.Random(seed)
    if main(["data", "get", "shapes", str(folder / "images"), "--count", "200", "--size", "32"]):
        raise SystemExit(1)
    base = {
        job: ["train", str(folder / "images"), *COMMON.split(), "--device", device, *JOBS[job].split()] for job in jobs
    }
    times = {}
    for job in jobs:
        (folder / job).mkdir()
        times[job] = whole_run(folder / job, base[job])
        print(f"{job}: a whole run takes {times[job][1]:.1f} s, {times[job][0]:.1f} s of them training", flush=True)
    hits: collections.Counter[str] = collections.Counter()
    trials = wrong = 0
    while hits.total() < kills:
        job = jobs[trials % len(jobs)]
        trial_folder = folder / f"{trials}"
        trial_folder.mkdir()
        trials += 1
        trial = Trial(trial_folder, [*base[job], "--save-every", chance.choice(MOMENTS)], chance, times[job])
        target = min(chance.randint(1, MOST_KILLS), kills - hits.total())
        while len(trial.hits) < target and trial.kill():
            pass
        if len(trial.hits) < target:  # it was faster than the whole run, as happens on a busy machine
            times[job] = (times[job][0] / 2, times[job][1] / 2)
        trial.finish()
        found = differences(trial.run, folder / job / "run")
        hits.update(trial.hits)
        wrong += bool(found)
        print(
            f"{job}: killed {', '.join(trial.hits) or 'not at all'}: {'differs in ' + ', '.join(found) if found else 'the same'}"
        )
        sys.stdout.flush()
        shutil.rmtree(trial_folder)
    print(f"{hits.total()} kills of {trials} runs: " + ", ".join(f"{n} {what}" for what, n in hits.most_common()))
    print(f"{trials - wrong} of {trials} runs ended in the same bytes")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    FORKS.set_forkserver_preload(
        ["resnets.training.train", "resnets.training.evaluation.final_evaluation", "resnets.cli.verbs.train"]
    )
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(min(soak(Path(temporary), arguments.kills, arguments.seed, arguments.jobs, arguments.device), 1))
