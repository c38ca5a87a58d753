"""Worker processes: stuck, killed, and left behind."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from resnets.data.loading import watch_workers
from resnets.data.loading.epoch_order import BatchPlan
from resnets.data.loading.ram_cache import LazyImages
from resnets.data.loading.train_loader import train_batches
from resnets.data.loading.worker_errors import WorkerError, is_worker_death

TRANSFORM = nn.Identity()


@pytest.fixture
def images() -> list[np.ndarray]:
    return [np.zeros((4, 4, 3), np.uint8)] * 13


def _stuck(image: torch.Tensor) -> torch.Tensor:
    """In a worker, a read that never ends."""
    time.sleep(1e6)
    return image


def test_a_stuck_worker_ends_with_an_error_and_is_killed(images, monkeypatch):
    monkeypatch.setattr(watch_workers, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.05)
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.001")
    before = multiprocessing.active_children()
    with pytest.raises(WorkerError, match=r"No images have arrived for 0\.001 minutes"):
        next(train_batches(images, BatchPlan(13, 4, seed=5), _stuck, workers=2))
    assert multiprocessing.active_children() == before


def _stuck_at_the_third(path: str) -> np.ndarray:
    if path == "2.jpg":
        time.sleep(1e6)
    return np.zeros((4, 4, 3), np.uint8)


def test_a_stuck_worker_names_the_files_of_its_batch(monkeypatch):
    monkeypatch.setattr(watch_workers, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.05)
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.02")
    images = LazyImages([f"{number}.jpg" for number in range(12)], _stuck_at_the_third)
    plan = BatchPlan(12, 3, seed=5)
    batches = (batch.indices.tolist() for batch in train_batches(images, plan, TRANSFORM, workers=2))
    order = plan.epoch_indices(0).tolist()
    first = order.index(2) // 3 * 3
    assert [next(batches) for _ in range(first // 3)] == [order[start : start + 3] for start in range(0, first, 3)]
    with pytest.raises(WorkerError) as caught:
        next(batches)
    names = ", ".join(f"'{index}.jpg'" for index in order[first : first + 3])
    assert str(caught.value).endswith(f"The batch that it works on: {names}.")


def test_the_wait_for_a_batch_can_be_ended(images, monkeypatch):
    monkeypatch.setattr(watch_workers, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.05)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(train_batches(images, BatchPlan(13, 4, seed=5), _stuck, workers=1, on_wait=interrupted))


def test_a_killed_worker_is_one_line(images):
    batches = train_batches(images, BatchPlan(13, 4, seed=5), TRANSFORM, workers=1)
    before = {process.pid for process in multiprocessing.active_children()}
    next(batches)
    (worker,) = [each for each in multiprocessing.active_children() if each.pid not in before]
    worker.kill()
    with pytest.raises(RuntimeError) as caught:  # in a signal handler, or where a batch is awaited
        list(batches)
    assert isinstance(caught.value, WorkerError) or is_worker_death(caught.value)


def test_batches_that_a_program_leaves_open_do_not_hang_its_end():
    code = """
import numpy as np
from torch import nn
from resnets.data.loading.train_loader import train_batches
from resnets.data.loading.epoch_order import BatchPlan
batches = train_batches([np.zeros((4, 4, 3), np.uint8)] * 8, BatchPlan(8, 2, 0), nn.Identity(), workers=3)
print(next(batches).images.shape)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "torch.Size([2, 3, 4, 4])\n", "")
