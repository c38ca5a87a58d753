"""The losses of several steps are read together; the first that is not finite is named with its step and images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resnets.data.loading.batch import Batch
from resnets.errors import JobError
from resnets.tasks.base import Losses
from resnets.training.pending_steps import MAX_STEPS, PendingSteps


def context() -> Any:
    """What an error message asks of a `TrainContext`."""
    plan = SimpleNamespace(steps_per_epoch=4)
    paths = [f"{index}.png" for index in range(12)]
    return SimpleNamespace(
        optimizer=SimpleNamespace(param_groups=[{"lr": 0.1}]), train_data=SimpleNamespace(paths=paths, plan=plan)
    )


def add(pending: PendingSteps, step: int, loss: float, count: int = 3, correct: float = 2) -> None:
    indices = torch.arange(step, step + count)
    batch = Batch(0, step, indices, indices, torch.zeros(count, 3, 1, 1))
    pending.add(step, batch, Losses(torch.tensor(loss), {"correct": torch.tensor(correct)}), data_seconds=0.5)


def test_the_sums_of_each_step_are_found() -> None:
    pending = PendingSteps(context())
    add(pending, 1, 0.5)
    add(pending, 2, 0.25, count=2, correct=1)
    checked = pending.check(stop=False, save=True)
    assert checked.steps == [
        {"loss": 1.5, "correct": 2.0, "num_images": 3.0},
        {"loss": 0.5, "correct": 1.0, "num_images": 2.0},
    ]
    assert (checked.stop, checked.save, checked.times["data_time_seconds"]) == (False, True, 1.0)
    assert pending.check().steps == []


def test_a_check_is_due_after_some_steps_but_not_too_many() -> None:
    pending = PendingSteps(context())
    assert not pending.is_due
    add(pending, 1, 0.5)
    assert pending.is_due
    pending.check()
    assert 1 <= pending.interval <= MAX_STEPS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_step_whose_loss_is_not_finite_is_named(value: float) -> None:
    pending = PendingSteps(context())
    for step, loss in ((5, 0.5), (6, value), (7, float("nan"))):
        add(pending, step, loss)
    with pytest.raises(JobError, match=rf"{value} at step 6 \(epoch 2.*6\.png, 7\.png, 8\.png"):
        pending.check()


def test_the_learning_rate_and_the_term_of_that_step_are_named() -> None:
    pending = PendingSteps(context())
    add(pending, 1, 0.5)
    add(pending, 2, float("nan"), correct=float("nan"))
    pending.context.optimizer.param_groups[0]["lr"] = 0.2
    add(pending, 3, 0.5)
    with pytest.raises(JobError, match=r"became nan \(correct nan\) at step 2 \(epoch 1, lr 0\.1\)"):
        pending.check()
