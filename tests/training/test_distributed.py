from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.forked_processes import TIMEOUT_SECONDS, run_ranks, start, start_ranks
from tests.in_soak import only_in_soak
from torch import Tensor, nn
from torch.distributed.run import main as torchrun

from resnets.cli.main import main
from resnets.errors import JobError, UserError
from resnets.models import zoo
from resnets.training import distributed, train
from resnets.training.configuration.build_recipe import build_recipe
from resnets.training.evaluation import validate
from resnets.training.run_dir import state_file
from resnets.training.run_dir.signals import Interrupted
from resnets.training.setup.build_context import build_context
from resnets.training.setup.prepare_run import PreparedRun, prepare_run
from resnets.training.state import TrainState

QUICK = [
    *("--model", "tiny", "--imgsz", "32", "--batch", "12", "--workers", "0", "--precision", "fp32", "--device", "cpu"),
    *("--set", "speed.threads=1", "--set", "schedule.warmup_epochs=0", "--lr", "0.02"),
]
CLOCK = ("time_seconds", "images_per_second", "data_time_fraction")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 noisy images to train on and 10 to validate with, in two classes."""
    folder = tmp_path_factory.mktemp("data") / "images"
    random = np.random.default_rng(0)
    for split, count in {"train": 12, "val": 5}.items():
        for name, color in {"green": (50, 180, 60), "red": (210, 40, 50)}.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = np.clip(random.normal(color, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(folder / split / name / f"{number:02d}.png")
    return folder


def rows(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def _talk(folder: Path) -> None:
    """The collectives on three ranks."""
    with distributed.process_group():
        own_rank = torch.distributed.get_rank()
        assert distributed.all_gather_object(f"from {own_rank}") == ["from 0", "from 1", "from 2"]
        assert distributed.all_reduce_sum(own_rank, 0.5) == [3, 1.5]
        assert [distributed.any_rank(own_rank == wanted) for wanted in (0, 2, 7)] == [True, True, False]
        assert distributed.broadcast_from_main(lambda: {"made by": own_rank}) == {"made by": 0}
        with pytest.raises(UserError, match="not possible"):
            distributed.broadcast_from_main(lambda: _refuse(own_rank))
        net = nn.BatchNorm1d(2)
        net.running_mean.fill_(own_rank + 5.0)
        distributed.broadcast_buffers(net)
        assert net.running_mean.tolist() == [5, 5]
        with distributed.main_lock(folder):
            assert (folder / ".lock").exists()
            distributed.all_gather_object(None)  # the first one, which holds the lock, must not be gone before


def _refuse(rank: int) -> None:
    assert rank == 0, "only the first process may be asked"
    raise UserError("not possible")


def test_collectives(tmp_path):
    run_ranks(tmp_path, 3, _talk, tmp_path)


def _batch() -> tuple[Tensor, Tensor]:
    """Twelve maps far from zero, and what comes back for them."""
    made = torch.Generator().manual_seed(0)
    x = torch.randn(12, 5, 3, 4, generator=made, dtype=torch.float32) * 3 + 50
    return x, torch.randn(12, 5, 3, 4, generator=made)


def _norm() -> nn.Module:
    norm = nn.BatchNorm2d(5)
    nn.init.uniform_(norm.weight, 0.5, 2, generator=torch.Generator().manual_seed(1))
    return norm


def _normalize(out: Path) -> None:
    with distributed.process_group():
        rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        norm = distributed.convert_sync_batchnorm(_norm(), "cpu")
        x, back = (each.chunk(size)[rank] for each in _batch())
        x = x.clone().requires_grad_()
        y = norm(x)
        y.backward(back)
        for parameter in norm.parameters():
            torch.distributed.all_reduce(parameter.grad)
        result = {"y": y.detach(), "x": x.grad, "w": norm.weight.grad, "b": norm.bias.grad, **norm.state_dict()}
        torch.save(result, out / f"{rank}.pt")


@pytest.mark.parametrize("size", [2, 3])
def test_a_synchronized_norm_is_that_of_the_whole_batch(size, tmp_path):
    run_ranks(tmp_path, size, _normalize, tmp_path)
    result = [torch.load(tmp_path / f"{rank}.pt") for rank in range(size)]
    norm, (x, back) = _norm(), _batch()
    x.requires_grad_()
    y = norm(x)
    y.backward(back)
    near = {"rtol": 2e-5, "atol": 2e-5}
    torch.testing.assert_close(torch.cat([each["y"] for each in result]), y.detach(), **near)
    torch.testing.assert_close(torch.cat([each["x"] for each in result]), x.grad, **near)
    for each in result:
        torch.testing.assert_close(each["w"], norm.weight.grad, **near)
        torch.testing.assert_close(each["b"], norm.bias.grad, **near)
        for name, value in norm.state_dict().items():
            torch.testing.assert_close(each[name], value, **near)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_norms_without_a_scale_are_synchronized_as_well(device: str) -> None:
    net = zoo.build("cifar_fast").eval()
    before, image = net.state_dict(), torch.randn(2, 3, 32, 32)
    expected = net(image)
    converted = distributed.convert_sync_batchnorm(net, device)
    assert {type(each) for each in converted.modules() if isinstance(each, nn.BatchNorm2d)} == {
        distributed.SyncBatchNorm2d
    }
    assert list(converted.state_dict()) == list(before)
    assert torch.equal(converted(image), expected)


@pytest.fixture(scope="module")
def shards(images: Path) -> Path:
    """The same in tars of a few images each."""
    out = images.parent / "shards"
    assert main(["data", "shard", str(images), str(out), "--size-mb", "0.02"]) == 0
    return out


@pytest.mark.parametrize(
    ("accumulate", "kind"), [pytest.param(1, "images", marks=only_in_soak("5 s")), (2, "images"), (1, "shards")]
)
def test_two_ranks_with_half_the_batch_equal_one_with_all_of_it(accumulate, kind, images, shards, tmp_path):
    # BN sees six images at a time in both cases, but not the same six: the losses are only close.
    data = images.parent / kind
    words = ["train", str(data), *QUICK, "--epochs", "3", "--set", f"optim.accumulate={accumulate}"]
    words += ["--cache", "off" if kind == "shards" else "ram"]
    words += ["--set", "augment.crop=pad", "--set", "ema.decay=0.5"]
    assert main([*words, "--out", str(tmp_path), "--name", "one"]) == 0
    outputs = run_ranks(tmp_path, 2, main, [*words, "--out", str(tmp_path), "--name", "two", "--sync-bn"])
    assert "one of 2 processes" not in outputs[0]  # threads were given
    assert outputs[1] == ""  # only the first one speaks
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == 3
    if accumulate == 1:
        for first, second in zip(one, two, strict=True):
            assert first == pytest.approx(second, rel=1e-3, abs=1e-4)
    assert one[0]["train/loss"] == pytest.approx(two[0]["train/loss"], rel=0.05)
    assert one[-1]["train/loss"] < 0.9 * one[0]["train/loss"]
    assert (tmp_path / "two" / "report.html").exists()


def test_each_validation_image_counts_once(images, tmp_path):
    # Ten images in three ranks; seven in two are counted in tests/contracts/tasks.py.
    # A rate of almost nothing, so that one process and several validate the same weights; but BN's own statistics.
    words = ["train", str(images), *QUICK, "--epochs", "1", "--lr", "1e-12", "--set", "freeze.norm=frozen"]
    assert main([*words, "--out", str(tmp_path), "--name", "one"]) == 0
    run_ranks(tmp_path, 3, main, [*words, "--out", str(tmp_path), "--name", "several"])
    one, several = rows(tmp_path / "one")[0], rows(tmp_path / "several")[0]
    for name in ("val/loss", "val/accuracy_top1", "val/accuracy_top5"):
        assert several[name] == pytest.approx(one[name], rel=1e-5)
    assert len((tmp_path / "several" / "predictions.csv").read_text().splitlines()) == 1 + 10


TORCHRUN = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "--start-method", "fork", "--run-path"]
WORKER = """
import os, sys
from resnets.cli.main import main
with open(f"rank{os.environ['LOCAL_RANK']}", "w") as file:
    file.write(str(os.getpid()))
if code := main(sys.argv[1:]):
    raise RuntimeError(f"exit code {code}")
"""


def test_a_killed_process_is_restarted_and_the_run_ends_in_the_same_bytes(images, tmp_path, monkeypatch):
    """By torchrun, which forks the processes here and saves their imports; `tests/soak/two_hosts.py` starts them anew."""
    monkeypatch.chdir(tmp_path)
    words = ["train", str(images), *QUICK, "--epochs", "3", "--set", "model.drop_path_rate=0.3", "--save-every", "1"]
    run_ranks(tmp_path, 2, main, [*words, "--out", str(tmp_path), "--name", "whole"])
    run, log, script = (tmp_path / name for name in ("run", "log", "worker.py"))
    script.write_text(WORKER)
    launcher = start(log, torchrun, [*TORCHRUN, str(script), *words, "--out", str(tmp_path), "--name", "run"])
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not list((run / "state").glob("00000000[3-9]*")):
        assert time.monotonic() < deadline
        assert launcher.is_alive(), log.read_text()
        time.sleep(0.01)
    os.kill(int((tmp_path / "rank1").read_text()), signal.SIGKILL)
    launcher.join(TIMEOUT_SECONDS)
    outputs = log.read_text()
    assert launcher.exitcode == 0, outputs
    assert "this job was restarted" in outputs
    assert "resuming after step" in outputs
    assert not (tmp_path / "run-2").exists()
    assert rows(run) == rows(tmp_path / "whole")
    for name in ("weights/best.safetensors", "weights/last.safetensors", "predictions.csv", "metrics.json"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def _twice(images: Path, out: Path) -> None:
    words = {"model": "tiny", "imgsz": 32, "batch": 12, "epochs": 1, "workers": 0, "precision": "fp32", "out": out}
    for name in ("first", "second"):
        done = train.train(images, name=name, overrides=["track.report=false"], **words)
        assert done is not None
        assert done.run == out / name


def test_a_script_may_train_twice(images, tmp_path):
    run_ranks(tmp_path, 2, _twice, images, tmp_path)


def _prepared(images: Path) -> PreparedRun:
    return prepare_run(*build_recipe(str(images), "tiny", "none", None, {"imgsz": 32, "batch": 12, "workers": 0}, []))


def _draw(images: Path, out: Path) -> None:
    with distributed.process_group():
        context = build_context(_prepared(images))
        weights = torch.cat([each.flatten() for each in context.net.parameters()])
        (first, samples), (second, other_samples) = distributed.all_gather_object((weights.detach(), torch.rand(8)))
        assert torch.equal(first, second)
        assert not torch.equal(samples, other_samples)


def test_ranks_have_equal_weights_and_different_random_numbers(images, tmp_path):
    run_ranks(tmp_path, 2, _draw, images, tmp_path)


def _validated(images: Path, count: int) -> None:
    with distributed.process_group():
        prepared = _prepared(images)
        dataset = prepared.dataset
        samples = [*dataset.subset("train"), *dataset.subset("val")[:count]]
        context = build_context(replace(prepared, dataset=replace(dataset, samples=samples)))
        measured = validate.validate(context)
        assert measured is not None
        assert len(measured) == count
        result = context.task.validation_metrics(measured)
        assert len({json.dumps(each) for each in distributed.all_gather_object(result)}) == 1
        assert result["accuracy_top5"] == 1
        told = [signal.SIGTERM] if torch.distributed.get_rank() == 1 else []  # of which the other one knows nothing
        with pytest.raises(Interrupted):
            validate.epoch_metrics(context, TrainState(), None, told)


def test_a_single_validation_image_and_a_signal_to_one_process(images, tmp_path):
    run_ranks(tmp_path, 2, _validated, images, 1)


def test_a_signal_to_one_process_ends_all_after_the_same_step(images, tmp_path):
    words = ["train", str(images), *QUICK, "--epochs", "400", "--out", str(tmp_path), "--name", "run"]
    logs, started = start_ranks(tmp_path, 2, main, words)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not list((tmp_path / "run" / "state").glob("0*")):
        assert time.monotonic() < deadline
        assert all(process.is_alive() for process in started), logs[0].read_text()
        time.sleep(0.01)
    os.kill(started[1].pid, signal.SIGTERM)
    for process in started:
        process.join(TIMEOUT_SECONDS)
    assert 0 not in [process.exitcode for process in started]
    outputs = logs[0].read_text()
    assert "stopped after step" in outputs
    stopped = int(outputs.partition("stopped after step ")[2].split()[0])
    assert state_file.list_states(tmp_path / "run" / "state")[-1].stem == f"{stopped:09d}"


def test_a_range_test_is_refused(images, tmp_path):
    outputs = run_ranks(tmp_path, 2, _refused, ["lr-find", str(images), *QUICK[:10]])
    assert "runs in one process" in outputs[0]


def _refused(words: list[str]) -> int:
    return main(words) - 2


def test_a_batch_that_is_not_divisible_is_refused(images, tmp_path):
    outputs = run_ranks(tmp_path, 3, _refused, ["train", str(images), *QUICK, "--batch", "8", "--dry-run"])
    assert "8 is not divisible by 3" in outputs[0]


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_stuck_process_is_noticed_after_the_stated_time(tmp_path):
    outputs = run_ranks(tmp_path, 2, _stuck_beside, str(tmp_path / "pid"))
    assert "has not answered for 0.05 minutes" in outputs[0]


def _stuck_beside(pid: str) -> int:
    os.environ["RESNETS_TIMEOUT_MINUTES"] = "0.05"
    first = os.environ["RANK"] == "0"
    try:
        with distributed.process_group():
            if not first:
                Path(pid).write_text(str(os.getpid()))
            distributed.all_reduce_sum(1.0)
            if not first:
                os.kill(os.getpid(), signal.SIGSTOP)
                return 0
            distributed.all_reduce_sum(1.0)
    except JobError as error:
        print(error, flush=True)
    finally:
        if first:
            os.kill(int(Path(pid).read_text()), signal.SIGCONT)
    return 0


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_one_gpu_for_several_processes_is_refused(device, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="is one GPU for 2 processes"):
        distributed.local_device(device)
    assert distributed.local_device("cpu") == "cpu"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # one on each of two machines
    assert distributed.local_device(device) == device
