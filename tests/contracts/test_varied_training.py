"""Trainings with states of their own are the same run after an interruption, or two in `make soak`.

A detector with mosaics, changing sizes and averaged weights; the recipe `cifar_fast` with a whitening stem, Muon, alternating
flips and Lookahead.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tests.forked_processes import start
from tests.in_soak import IN_SOAK

from resnets.cli.main import main
from resnets.data.loading.multiscale import training_size
from resnets.training import loop
from resnets.training.configuration.build_recipe import RunRequest, build_recipe
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainState, restore_state

VARIED = [
    *("task.mosaic=0.5", "task.multiscale=true", "ema.decay=0.9"),
    *("save.every=1", "speed.threads=1", "task.neck_channels=16"),
]


# A stem that learns in the first two of four epochs, and two parts of each batch.
FAST = [
    *("schedule.stem_epochs=2", "ema.lookahead_steps=3", "optim.accumulate=2", "save.every=1", "speed.threads=1"),
    "model.out_channels=16,32,32",
]
COMMON = {"epochs": 4, "workers": 0, "device": "cpu", "seed": 2}


def run_or_resume(request: RunRequest, run: Path) -> None:
    """Four epochs of two steps, from the beginning or from the last saved state, without a report."""
    context = build_context(prepare_run(*request), has_state=(run / "state").exists())
    loop.run(context, restore_state(context, run) if (run / "state").exists() else TrainState(), run)


def train_detector(data: Path, run: Path) -> None:
    values = {**COMMON, "batch": 9, "imgsz": 64, "precision": "fp32"}
    run_or_resume(build_recipe(str(data), "yolov3_light_tiny", "none", None, values, VARIED), run)


def train_fast(data: Path, run: Path) -> None:
    """In bf16, in which small maps have their gradients from products of matrices."""
    values = {**COMMON, "batch": 9, "precision": "bf16"}
    run_or_resume(build_recipe(str(data), None, None, "cifar_fast", values, FAST), run)


def check_killed(train: Callable[[Path, Path], None], data: Path, tmp_path: Path) -> None:
    whole, run = (run_dir.create_run_dir(tmp_path, name) for name in ("whole", "killed"))
    train(data, whole)
    for step in (3, 5) if IN_SOAK else (3,):  # each in the middle of an epoch
        process = start(tmp_path / "log", train, data, run)
        while process.is_alive() and not list(run.glob(f"state/*{step}.safetensors")):
            process.join(0.005)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
        assert not list(run.glob("state/*8.safetensors"))
    train(data, run)
    for name in ("best", "last"):
        one, other = (each / "weights" / f"{name}.safetensors" for each in (whole, run))
        assert one.read_bytes() == other.read_bytes()


def test_a_detector_that_is_killed_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """With mosaics but in the last epoch, sizes of 64 and 96 pixels, and an average of the weights."""
    data = tmp_path / "shapes"
    assert main(["data", "get", "shapes", str(data), "--count", "30", "--size", "64"]) == 0
    assert {training_size(64, seed=2, epoch=epoch, step=0) for epoch in range(4)} == {64, 96}
    check_killed(train_detector, data, tmp_path)


def test_cifar_fast_killed_ends_in_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, name, count in (("train", "a", 9), ("train", "b", 9), ("test", "a", 1), ("test", "b", 1)):
        (tmp_path / "data" / split / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
            image.save(tmp_path / "data" / split / name / f"{number}.png")
    check_killed(train_fast, tmp_path / "data", tmp_path)
