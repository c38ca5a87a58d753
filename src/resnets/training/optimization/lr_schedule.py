"""Learning rates as values: each curve gives the share of the full rate at a step; call it, print it, plot it.

    curve = Warmup(100, 0.01, Cosine(1000))
    [curve(step) for step in range(1000)]

`Pace` adds the two rules that a curve cannot know, since they depend on the run: lowering at a plateau, and the 2015
paper's warm-up that ends when the training error has fallen.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from resnets.data.datasets.dataset import counted
from resnets.errors import UserError
from resnets.recipes import recipe

Curve = Callable[[int], float]

ERROR_WINDOW_STEPS = 100  # the paper says "training error" without its window; this many batches smooth it enough


@dataclass(frozen=True)
class Constant:
    def __call__(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Step:
    """Multiplied by one factor at each milestone, counted in steps."""

    milestones: tuple[int, ...]
    factors: tuple[float, ...]

    def __call__(self, step: int) -> float:
        return math.prod(self.factors[: bisect.bisect_right(self.milestones, step)])


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 down to 0 over `total` steps (Loshchilov and Hutter 2017, one period)."""

    total: int

    def __call__(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step / max(self.total, 1), 1.0)))


@dataclass(frozen=True)
class OneCycle:
    """Up along a cosine to the full rate, then down to nearly nothing (Smith and Topin 2018)."""

    total: int
    peak_fraction: float = 0.3
    start: float = 0.04
    end: float = 1e-5

    def __call__(self, step: int) -> float:
        peak = max(self.total * self.peak_fraction, 1e-9)
        if step < peak:
            return _cosine_between(self.start, 1.0, step / peak)
        return _cosine_between(1.0, self.end, min((step - peak) / max(self.total - peak, 1), 1.0))


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Warmup:
    """A straight line from `start` to 1 over `steps`, then the other curve from its beginning."""

    steps: int
    start: float
    then: Curve

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.start + (1 - self.start) * step / self.steps
        return self.then(step - self.steps)


@dataclass(frozen=True)
class Hold:
    """The full rate for `steps`, then the other curve from its beginning: the epochs of the head alone."""

    steps: int
    then: Curve

    def __call__(self, step: int) -> float:
        return 1.0 if step < self.steps else self.then(step - self.steps)


def build_curve(part: recipe.Schedule, *, total_steps: int, steps_per_epoch: int, hold_steps: int = 0) -> Curve:
    """The curve that a recipe's schedule describes; `hold_steps` at the full rate come before it."""
    # A run that is shorter than its own warm-up would never reach its rate; half of it is the most that warms up.
    warmup = min(round(part.warmup_epochs * steps_per_epoch), (total_steps - hold_steps) // 2)
    left = total_steps - hold_steps - warmup
    curve: Curve = Constant()
    if part.name == "cosine":
        curve = Cosine(left)
    elif part.name == "one_cycle":
        curve = OneCycle(left, part.peak_fraction)
    elif part.name == "step":
        curve = _step(part, steps_per_epoch, offset=hold_steps + warmup)
    if warmup:
        curve = Warmup(warmup, part.warmup_factor, curve)
    return Hold(hold_steps, curve) if hold_steps else curve


def _step(part: recipe.Schedule, steps_per_epoch: int, offset: int) -> Step:
    """Milestones count from the beginning of the run, whatever comes before."""
    milestones = part.milestones_steps or tuple(round(each * steps_per_epoch) for each in part.milestones_epochs)
    if not milestones:
        raise UserError(
            "`schedule.name=step` needs `schedule.milestones_epochs` or `schedule.milestones_steps`, such as 30,60."
        )
    factors = part.factors or (part.factor,) * len(milestones)
    if len(factors) != len(milestones):
        raise UserError(
            f"`schedule.factors` has {counted(len(factors), 'number')} for {counted(len(milestones), 'milestone')}."
        )
    return Step(tuple(each - offset for each in milestones), factors)


@dataclass
class LRController:
    """The rate of each step: the curve, times what the run itself has taught. Its state is saved with the run."""

    curve: Curve
    part: recipe.Schedule
    lowered: float = 1.0
    best: float = math.inf
    waited_epochs: int = 0
    warming: bool = field(init=False)
    window: list[tuple[float, float]] = field(default_factory=list)  # (wrong, seen) of the newest batches

    def __post_init__(self) -> None:
        self.warming = self.part.warmup_until_error is not None

    def factor(self, step: int) -> float:
        return self.part.warmup_factor if self.warming else self.curve(step) * self.lowered

    def after_step(self, wrong: float, seen: float) -> bool:
        """Take in one training batch; True when the warm-up has just ended."""
        if not self.warming:
            return False
        self.window = [*self.window, (wrong, seen)][-ERROR_WINDOW_STEPS:]
        error = sum(wrong for wrong, _ in self.window) / sum(seen for _, seen in self.window)
        self.warming = len(self.window) < ERROR_WINDOW_STEPS or error >= (self.part.warmup_until_error or 0)
        return not self.warming

    def after_epoch(self, val_loss: float) -> bool:
        """Take in one validation; True when the rate was lowered for a plateau."""
        if self.part.plateau_epochs is None:
            return False
        # A gain under a part in ten thousand is noise; the same threshold as torch's and Keras's plateau rules.
        if val_loss < self.best * (1 - 1e-4):
            self.best, self.waited_epochs = val_loss, 0
            return False
        self.waited_epochs += 1
        if self.waited_epochs < self.part.plateau_epochs or self.lowered <= self.part.plateau_min_factor:
            return False
        self.lowered = max(self.lowered * self.part.plateau_factor, self.part.plateau_min_factor)
        self.waited_epochs = 0
        return True

    def state_dict(self) -> dict:
        state = {"lowered": self.lowered, "best": self.best, "waited_epochs": self.waited_epochs}
        return state | {"warming": self.warming, "window": self.window}

    def load_state_dict(self, state: dict) -> None:
        self.lowered, self.best = state["lowered"], state["best"]
        self.waited_epochs, self.warming = state["waited_epochs"], state["warming"]
        self.window = [tuple(pair) for pair in state["window"]]
