"""A detector trained with mosaics, changing sizes and averaged weights is the same run after interruptions."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.forked_processes import start

from resnets.cli.main import main
from resnets.data.loading.multiscale import training_size
from resnets.training import loop
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.run_dir import run_dir
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import prepare_run
from resnets.training.state import TrainState, restore_state

VARIED = [
    *("task.mosaic=0.5", "task.multiscale=true", "ema.decay=0.9"),
    *("save.every=1", "speed.threads=1", "task.neck_channels=16"),
]


def run_or_resume(data: Path, run: Path) -> None:
    """Four epochs of two steps, from the beginning or from the last saved state, without a report."""
    values = {"epochs": 4, "batch": 9, "imgsz": 64, "workers": 0, "device": "cpu", "precision": "fp32", "seed": 2}
    context = build_context(prepare_run(*build_recipe(str(data), "yolov3_light_tiny", "none", None, values, VARIED)))
    loop.run(context, restore_state(context, run) if (run / "state").exists() else TrainState(), run)


def test_a_run_that_is_killed_twice_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """With mosaics but in the last epoch, sizes of 64 and 96 pixels, and an average of the weights."""
    data = tmp_path / "shapes"
    assert main(["data", "get", "shapes", str(data), "--count", "30", "--size", "64"]) == 0
    assert {training_size(64, seed=2, epoch=epoch, step=0) for epoch in range(4)} == {64, 96}
    whole, run = (run_dir.create_run_dir(tmp_path, name) for name in ("whole", "killed"))
    run_or_resume(data, whole)
    for step in (3, 5):  # each in the middle of an epoch
        process = start(tmp_path / "log", run_or_resume, data, run)
        while process.is_alive() and not list(run.glob(f"state/*{step}.safetensors")):
            process.join(0.005)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
        assert not list(run.glob("state/*8.safetensors"))
    run_or_resume(data, run)
    for name in ("best", "last"):
        one, other = (each / "weights" / f"{name}.safetensors" for each in (whole, run))
        assert one.read_bytes() == other.read_bytes()
