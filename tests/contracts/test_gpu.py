"""On an NVIDIA GPU: networks compute what they do on the CPU, and a run can be repeated and resumed exactly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import resnets
from resnets.cli import main
from resnets.data.loading.batch import Batch
from resnets.inference import benchmark
from resnets.inference.model_runner import ModelRunner
from resnets.models import zoo
from resnets.tasks.base import Losses
from resnets.tasks.classification.static_graph import classifier_graph
from resnets.training import loop, train_step
from resnets.training.state import TrainContext, TrainState

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

BACKENDS = [("auto", "fp32"), ("torch", "fp32"), ("compile", "fp32"), ("torch", "bf16"), ("compile", "bf16")]
# Relative errors (Frobenius norm of the difference over that of the logits). fp32 has 24 bits and bf16 8; TF32 with its 11
# gives 3e-4 and more.
TOLERANCE = {"fp32": 5e-5, "bf16": 0.05}


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_network_gives_the_logits_of_the_cpu_in_float64(name: str) -> None:
    entry = zoo.find(name).spec
    side = entry.imgsz if entry.pool == "window" else 97 if entry.imgsz > 64 else 33
    _check_logits(name, "auto", "fp32", side, num_blocks=tuple(min(depth, 2) for depth in entry.num_blocks))


@pytest.mark.parametrize(("backend", "precision"), BACKENDS)
def test_every_backend_gives_the_logits_of_the_cpu_in_float64(backend: str, precision: str) -> None:
    _check_logits("resnet18", backend, precision, 97)


def _check_logits(name: str, backend: str, precision: str, side: int, **settings: Any) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 3, side, side)
    net = benchmark.calibrate_batch_norms_(zoo.build(name, num_classes=10, **settings), images)
    with torch.no_grad():
        expected = net.double()(images.double())
    runner = ModelRunner(classifier_graph(net.float().cuda()), backend, precision)
    logits = runner.job(len(images), len(images)).outputs(images).double()
    error = float((logits - expected).norm() / expected.norm())
    print(f"{name} {backend} {precision}: {error:.1e}")
    assert error < TOLERANCE[precision]
    if precision == "bf16":
        assert error > TOLERANCE["fp32"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn shapes of 32 pixels with a test split."""
    folder = tmp_path_factory.mktemp("gpu") / "shapes"
    assert main.main(["data", "get", "shapes", str(folder), "--count", "240", "--size", "32"]) == 0
    return folder


COMMON = "--model tiny --imgsz 32 --batch 32 --epochs 3 --set speed.deterministic=true --device cuda"
RUNS = {
    "fp32": "--precision fp32",
    "tf32": "--precision tf32",
    "bf16": "--precision bf16",
    "fp16": "--precision fp16",
    "mixup, EMA and random depth": "--set augment.mixup_alpha=0.2 --set ema.decay=0.9 --set model.drop_path_rate=0.2",
}


def _train(images: Path, out: Path, *words: str) -> Path:
    assert main.main(["train", str(images), *COMMON.split(), *words, "--out", str(out), "--name", "run"]) == 0
    return out / "run"


def _weights(run: Path) -> list[bytes]:
    return [(run / "weights" / f"{name}.safetensors").read_bytes() for name in ("best", "last")]


@pytest.mark.parametrize("words", RUNS.values(), ids=list(RUNS))
def test_a_run_is_repeated_and_a_killed_run_resumed_to_the_same_bytes(words: str, images: Path, tmp_path: Path) -> None:
    whole = _train(images, tmp_path / "whole", *words.split())
    assert _weights(_train(images, tmp_path / "again", *words.split())) == _weights(whole)
    killed = _kill_after_first_epoch(images, tmp_path / "killed", words)
    assert main.main(["train", "--resume", str(killed)]) == 0
    assert _weights(killed) == _weights(whole)


def _kill_after_first_epoch(images: Path, out: Path, words: str) -> Path:
    command = [sys.executable, "-m", "resnets", "train", str(images), *COMMON.split(), *words.split()]
    process = subprocess.Popen([*command, "--out", str(out), "--name", "run"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1:"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL
    return out / "run"


def test_a_model_trained_on_the_gpu_answers_on_the_cpu_as_there(images: Path, tmp_path: Path) -> None:
    run = _train(images, tmp_path)
    on_gpu, on_cpu = (resnets.evaluate(run, images, device=device) for device in ("cuda", "cpu"))
    assert on_gpu.metrics["top1"] == on_cpu.metrics["top1"]
    assert on_gpu.metrics["loss"] == pytest.approx(on_cpu.metrics["loss"], rel=1e-4)
    paths = sorted(map(str, (images / "test").rglob("*.png")))[:20]
    for one, other in zip(
        *(resnets.load(run, device=device).predict(paths) for device in ("cuda", "cpu")), strict=True
    ):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=1e-4)


def test_a_frozen_backbone_is_run_once_and_its_run_repeated(images: Path, tmp_path: Path) -> None:
    parent = _train(images, tmp_path / "parent")
    words = ("--weights", str(parent), "--freeze", "backbone")
    command = ["train", str(images), "--epochs", "2", "--device", "cuda", "--set", "speed.deterministic=true", *words]
    runs = []
    for name in ("one", "other"):
        assert main.main([*command, "--out", str(tmp_path), "--name", name]) == 0
        runs.append(_weights(tmp_path / name))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_training_step_does_not_wait_for_the_gpu(
    precision: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fp16 is not among them: `GradScaler.step` reads whether a gradient overflowed."""
    steps = 0

    def strict(context: TrainContext, state: TrainState, batch: Batch) -> Losses:
        nonlocal steps
        steps += 1
        torch.cuda.set_sync_debug_mode("error" if steps > 2 else "default")  # the first ones allocate and measure
        try:
            return train_step.train_step(context, state, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "train_step", strict)
    words = ("--set", "augment.mixup_alpha=0.2", "--set", "ema.decay=0.9", "--set", "optim.clip_norm=1")
    _train(images, tmp_path, "--precision", precision, *words)
    assert steps > 10
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.ones(1, device="cuda").item()  # the mode does find what it is to find
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_compiled_training_step_trains(images: Path, tmp_path: Path) -> None:
    metrics = json.loads((_train(images, tmp_path, "--set", "speed.compile=true") / "metrics.json").read_text())
    assert 0 < metrics["top1"] <= 1


def test_bench_gives_the_memory_of_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "tiny", "--backends", "torch", "--seconds", "0.2", "--device", "cuda", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(row["memory_mib"] > 0 for row in rows)


def test_lr_find_runs(images: Path, tmp_path: Path) -> None:
    words = [
        "lr-find",
        str(images),
        "--model",
        "tiny",
        "--imgsz",
        "32",
        "--device",
        "cuda",
        "--out",
        str(tmp_path / "lr.png"),
    ]
    assert main.main(words) == 0


def test_memory_that_is_used_up_is_one_line(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3)
    try:
        words = ["train", str(images), "--model", "resnet50", "--imgsz", "224", "--batch", "64", "--epochs", "1"]
        assert main.main([*words, "--device", "cuda", "--out", str(tmp_path)]) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    lines = capsys.readouterr().err.strip().splitlines()
    assert "The GPU is out of memory" in lines[-1]
    assert "Traceback" not in "\n".join(lines)
