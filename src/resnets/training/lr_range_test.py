"""The learning-rate range test (Smith 2017, Cyclical learning rates, section 3.3)."""

import contextlib
import math
from typing import NamedTuple

import numpy as np

from resnets.data.loading.epoch_order import EpochStep
from resnets.progress import progress_bar
from resnets.report.figures import lr_find_curve
from resnets.training import precision
from resnets.training.optimization import freeze
from resnets.training.state import TrainContext
from resnets.training.train_step import backward

DIVERGED = 4.0  # times the lowest loss so far: the test is over


class RangeTest(NamedTuple):
    """The result of a learning-rate range test.

    Attributes:
        rates: the learning rate of each step, growing by a constant factor.
        losses: the training loss of each step, not smoothed; the lists end where the loss diverged.
        suggestion: the rate at which the smoothed loss falls most steeply; None if it never falls.
    """

    rates: list[float]
    losses: list[float]
    suggestion: float | None


def run_range_test(context: TrainContext, *, low: float, high: float, steps: int) -> RangeTest:
    """Train for `steps` with a rate that grows from `low` to `high`, and suggest one. It changes the weights of the network."""
    freeze.apply(context.net, context.recipe.freeze, epoch=context.recipe.freeze.head_epochs)
    context.net.train()
    rates: list[float] = []
    losses: list[float] = []
    settings = precision.training_settings(
        context.precision, context.device, deterministic=context.recipe.speed.deterministic
    )
    with settings, contextlib.closing(context.train_data.batches(EpochStep())) as batches:
        for step in progress_bar(range(steps), description="range test", total=steps, unit="batches"):
            rate = low * (high / low) ** (step / max(steps - 1, 1))
            for group in context.optimizer.param_groups:
                group["lr"] = rate * group["base_lr"] / context.recipe.optim.lr
            value = float(backward(context, context.net, next(batches)).total)
            if not math.isfinite(value) or (step > steps // 10 and value > DIVERGED * min(losses)):
                break
            context.scaler.step(context.optimizer)
            context.scaler.update()
            rates.append(rate)
            losses.append(value)
    return RangeTest(rates, losses, suggest_lr(rates, losses))


def suggest_lr(rates: list[float], losses: list[float]) -> float | None:
    """The rate at which the smoothed loss falls most steeply; None when it never falls."""
    if len(losses) < 10:
        return None
    smooth = lr_find_curve.smoothed(losses)
    # Only up to the lowest point: beyond it the loss rises, and may fall again by chance.
    end = max(int(np.argmin(smooth)) + 1, 5)
    slopes = np.gradient(smooth[:end], np.log(rates[:end]))
    steepest = int(np.argmin(slopes))
    return float(rates[steepest]) if slopes[steepest] < 0 else None
