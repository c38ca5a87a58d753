from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import forked_processes

from resnets.cli.main import main

# Everything that a run's next step may depend on is in use: momentum, an average, drawn blocks, drawn images.
QUICK = [
    *("--model", "tiny", "--imgsz", "32", "--batch", "8", "--workers", "0", "--precision", "fp32", "--device", "cpu"),
    *("--set", "model.drop_path_rate=0.3", "--set", "ema.decay=0.9", "--set", "speed.threads=1"),
    *("--set", "augment.crop=random_resized", "--set", "augment.mixup_alpha=0.2"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 noisy images in each of two folders."""
    folder = tmp_path_factory.mktemp("data") / "images"
    random = np.random.default_rng(0)
    for name, color in {"green": (50, 180, 60), "red": (210, 40, 50)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            image = np.clip(random.normal(color, 60, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / name / f"{number:02d}.png")
    return folder


def _words(images: Path, out: Path, *more: str) -> list[str]:
    return ["train", str(images), *QUICK, "--out", str(out), "--name", "run", *more]


def _start(words: list[str], log: Path, until: str) -> BaseProcess:
    """Start the command in a process of its own, and wait until a line begins with `until`."""
    process = forked_processes.start(log, main, words)
    deadline = time.monotonic() + forked_processes.TIMEOUT_SECONDS
    while not (log.exists() and f"\n{until}" in log.read_text()):
        assert process.is_alive(), log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return process


def _interrupted(images: Path, out: Path, number: int, after: str) -> int | None:
    """Start the same run, send it a signal when a line that begins with `after` appears, and give its exit code."""
    process = _start(_words(images, out, "--epochs", "4"), out / "log", after)
    os.kill(process.pid or 0, number)
    process.join(forked_processes.TIMEOUT_SECONDS)
    return process.exitcode


def _rows(run: Path) -> list[dict[str, object]]:
    clock = ("time_seconds", "images_per_second", "data_time_fraction")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


WEIGHTS = ("weights/best.safetensors", "weights/last.safetensors")


def _assert_the_same_run(
    run: Path, whole: Path, names: Sequence[str] = (*WEIGHTS, "predictions.csv", "metrics.json")
) -> None:
    assert _rows(run) == _rows(whole)
    for name in names:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    assert main(_words(images, out, "--epochs", "4")) == 0
    return out / "run"


def _with_small_files(bytes_: int, words: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))
    return main(words)


def test_a_killed_run_survives_a_full_disk_and_goes_on_to_the_same_bytes(images, whole, tmp_path):
    assert _interrupted(images, tmp_path, signal.SIGKILL, after="epoch 2:") == -signal.SIGKILL
    run = tmp_path / "run"
    assert len(_rows(run)) in (2, 3)
    newest = sorted((run / "state").glob("[0-9]*"))[-1]
    before = newest.read_bytes()
    # The state of the tiny network has more bytes than this, its weights fewer; the limit hits as a full disk would.
    limit = max(path.stat().st_size for path in (whole / "weights").iterdir()) + 10_000
    log = tmp_path / "log"
    process = forked_processes.start(log, _with_small_files, limit, ["train", "--resume", str(run)])
    process.join(forked_processes.TIMEOUT_SECONDS)
    assert process.exitcode == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith(f"error: Cannot write '{run / 'state'}")
    assert "File too large" in last
    assert last.endswith(f"The state after step {int(newest.stem)} was saved; continue with --resume {run}")
    assert newest.read_bytes() == before
    assert main(["train", "--resume", str(run)]) == 0
    _assert_the_same_run(run, whole)
    assert sorted(path.name for path in (run / "state").iterdir()) == ["000000012.safetensors", "000000016.safetensors"]


def test_an_interrupted_run_ends_well_and_goes_on_to_the_same_bytes(images, whole, tmp_path):
    assert _interrupted(images, tmp_path, signal.SIGINT, after="epoch 1:") == 130
    assert (tmp_path / "run" / "weights" / "last.safetensors").is_file()
    assert main(["train", "--resume", str(tmp_path / "run"), "--workers", "1"]) == 0
    _assert_the_same_run(tmp_path / "run", whole)


def test_a_second_process_on_the_same_run_is_refused_until_the_first_is_dead(images, tmp_path, capsys):
    words = _words(images, tmp_path, "--epochs", "500", "--workers", "1")
    process = _start(words, tmp_path / "log", "epoch 2:")  # after the first state was saved
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    stderr = capsys.readouterr().err.splitlines()[-1]
    assert stderr.startswith(f"error: The run '{tmp_path / 'run'}' is being written by process {process.pid} on ")
    process.kill()
    process.join()
    # Its worker lives on for some seconds, and does not hold the run. The words on epochs come after the lock.
    assert main(["train", "--resume", str(tmp_path / "run"), "--epochs", "+1"]) == 2
    assert "adds epochs to a finished run" in capsys.readouterr().err.splitlines()[-1]


def test_deterministic_runs_are_equal_to_the_bit_in_processes_with_several_threads(images, tmp_path):
    for name in ("one", "two"):
        words = _words(images, tmp_path / name, "--epochs", "1", "--deterministic", "--val-fraction", "0")
        words[words.index("speed.threads=1")] = "speed.threads=2"
        process = forked_processes.start(tmp_path / "log", main, words)
        process.join(forked_processes.TIMEOUT_SECONDS)
        assert process.exitcode == 0, (tmp_path / "log").read_text()
    _assert_the_same_run(tmp_path / "one" / "run", tmp_path / "two" / "run", WEIGHTS)
    assert "deterministic = true  # given: --deterministic" in (tmp_path / "one" / "run" / "recipe.toml").read_text()


def test_a_finished_run_is_extended_by_the_command_line(images, tmp_path):
    assert main(_words(images, tmp_path, "--epochs", "1", "--val-fraction", "0")) == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--epochs", "+1", "--save-every", "2"]) == 0
    assert [row["epoch"] for row in _rows(tmp_path / "run")] == [1, 2]


def test_a_finished_run_is_not_trained_again(whole, capsys):
    before = (whole / "weights" / "last.safetensors").read_bytes()
    assert main(["train", "--resume", str(whole)]) == 0
    printed = capsys.readouterr()
    assert not [line for line in printed.err.splitlines() if line.startswith("epoch ")]
    assert printed.out == f"{whole}\n"  # stdout has the run directory and nothing else
    assert (whole / "weights" / "last.safetensors").read_bytes() == before


def test_a_path_that_cannot_be_written_to_is_one_line(images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(_words(images, tmp_path / "file" / "runs")) in (1, 2)
    assert "Not a directory" in capsys.readouterr().err.splitlines()[-1]


def test_data_that_has_changed_is_not_resumed(whole, images, capsys):
    extra = images / "red" / "new.png"
    Image.fromarray(np.zeros((24, 24, 3), dtype=np.uint8)).save(extra)
    try:
        assert main(["train", "--resume", str(whole)]) == 2
    finally:
        extra.unlink()
    assert "1 added" in capsys.readouterr().err.splitlines()[-1]


def test_a_dry_run_prints_the_plan_and_makes_nothing(images, tmp_path, capsys):
    assert main(_words(images, tmp_path / "runs", "--dry-run")) == 0
    printed = capsys.readouterr()
    assert "2 classes; 32 training and 8 validation images; 4 steps an epoch" in printed.err
    assert printed.out == ""
    assert not (tmp_path / "runs").exists()


def test_a_range_test_prints_the_rate(images, tmp_path, capsys):
    words = ["lr-find", str(images), *QUICK, "--steps", "25", "--low", "0.0001", "--high", "0.5"]
    assert main([*words, "--out", str(tmp_path / "curve.png")]) == 0
    assert 0.0001 <= float(capsys.readouterr().out) <= 0.5
