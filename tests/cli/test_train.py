from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = [sys.executable, "-m", "resnets"]
# Everything that a run's next step may depend on is in use: momentum, an average, drawn blocks, drawn pictures.
QUICK = [
    *("--model", "tiny", "--imgsz", "32", "--batch", "8", "--workers", "0", "--precision", "fp32", "--device", "cpu"),
    *("--set", "model.drop_path_rate=0.3", "--set", "ema.decay=0.9", "--set", "speed.threads=1"),
    *("--set", "augment.crop=random_resized", "--set", "augment.mixup_alpha=0.2"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 noisy pictures in each of two folders."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    random = np.random.default_rng(0)
    for name, colour in {"green": (50, 180, 60), "red": (210, 40, 50)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            picture = np.clip(random.normal(colour, 60, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{number:02d}.png")
    return folder


def _train(pictures: Path, out: Path, *more: str, **values: object) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, "train", str(pictures), *QUICK, "--out", str(out), "--name", "run", *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **values)  # type: ignore[call-overload]


def _interrupted(pictures: Path, out: Path, number: int, after: str) -> int:
    """Start the same run, send it a signal when a line that begins with `after` appears, and give its exit code."""
    words = [*COMMAND, "train", str(pictures), *QUICK, "--out", str(out), "--name", "run", "--epochs", "4"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith(after) for line in process.stderr)
        process.send_signal(number)
        process.stderr.read()
        return process.wait(300)


def _resumed(run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "train", "--resume", str(run), *more], capture_output=True, text=True, timeout=300)


def _rows(run: Path) -> list[dict[str, object]]:
    clock = ("time_seconds", "images_per_second", "data_share")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


def _assert_the_same_run(run: Path, whole: Path) -> None:
    assert _rows(run) == _rows(whole)
    names = ("weights/best.safetensors", "weights/last.safetensors", "predictions.csv", "metrics.json")
    for name in names:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    done = _train(pictures, out, "--epochs", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'run'}\n"
    return out / "run"


def test_a_killed_run_goes_on_to_the_same_bytes(pictures, whole, tmp_path):
    assert _interrupted(pictures, tmp_path, signal.SIGKILL, after="epoch 2:") == -signal.SIGKILL
    assert len(_rows(tmp_path / "run")) in (2, 3)
    done = _resumed(tmp_path / "run")
    assert done.returncode == 0, done.stderr
    _assert_the_same_run(tmp_path / "run", whole)


def test_an_interrupted_run_ends_well_and_goes_on_to_the_same_bytes(pictures, whole, tmp_path):
    assert _interrupted(pictures, tmp_path, signal.SIGINT, after="epoch 1:") == 130
    assert (tmp_path / "run" / "weights" / "last.safetensors").is_file()
    done = _resumed(tmp_path / "run", "--workers", "1")
    assert done.returncode == 0, done.stderr
    _assert_the_same_run(tmp_path / "run", whole)


def test_a_finished_run_is_not_trained_again(whole):
    before = (whole / "weights" / "last.safetensors").read_bytes()
    done = _resumed(whole)
    assert done.returncode == 0, done.stderr
    assert "epoch 5" not in done.stderr
    assert (whole / "weights" / "last.safetensors").read_bytes() == before


def _limited(bytes_: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


def test_a_full_disk_is_one_line_and_leaves_the_last_good_state(pictures, whole, tmp_path):
    # The state of the tiny network has more than this, its weights less; the limit hits as a full disk would.
    limit = max(path.stat().st_size for path in (whole / "weights").iterdir()) + 10_000
    assert _interrupted(pictures, tmp_path, signal.SIGKILL, after="epoch 2:") == -signal.SIGKILL
    run = tmp_path / "run"
    newest = sorted((run / "state").iterdir())[-1]
    before = newest.read_bytes()
    words = [*COMMAND, "train", "--resume", str(run)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, preexec_fn=_limited(limit))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: Cannot write '")
    assert "File too large" in last
    assert newest.read_bytes() == before
    assert not [path for path in (run / "state").iterdir() if not path.name[0].isdigit()]
    assert _resumed(run).returncode == 0
    _assert_the_same_run(run, whole)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount a small disk")
def test_a_small_disk_that_is_full(pictures, tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        done = _train(pictures, tmp_path, "--epochs", "3")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_place_that_cannot_be_written_to_is_one_line(pictures, tmp_path):
    (tmp_path / "file").write_text("")
    done = _train(pictures, tmp_path / "file" / "runs")
    assert done.returncode in (1, 2)
    assert "run folder" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_data_that_has_changed_is_not_resumed(whole, pictures, tmp_path):
    extra = pictures / "red" / "new.png"
    Image.fromarray(np.zeros((24, 24, 3), dtype=np.uint8)).save(extra)
    try:
        done = _resumed(whole)
    finally:
        extra.unlink()
    assert done.returncode == 2
    assert "1 added" in done.stderr.splitlines()[-1]


def test_a_dry_run_prints_the_plan_and_makes_nothing(pictures, tmp_path):
    done = _train(pictures, tmp_path / "runs", "--dry-run")
    assert done.returncode == 0
    assert "2 classes; 32 training and 8 validation pictures; 4 steps an epoch" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()
