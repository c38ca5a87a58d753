"""Learning-rate schedules: each is a function of the step that returns a factor of the full learning rate.

    curve = Warmup(100, 0.01, Cosine(1000))
    [curve(step) for step in range(1000)]

`LRController` adds the two rules that depend on the run: lowering the rate on a plateau of the validation loss, and the
warm-up of He et al. 2015, which ends when the training error has fallen.
"""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from resnets.errors import UserError
from resnets.message_format import pluralize
from resnets.recipes import recipe

Curve = Callable[[int], float]

ERROR_WINDOW_STEPS = 100  # the paper does not say over how many batches its training error is taken


@dataclass(frozen=True)
class Constant:
    def __call__(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Step:
    """Multiply by one factor at each milestone; milestones are steps."""

    milestones: tuple[int, ...]
    factors: tuple[float, ...]

    def __call__(self, step: int) -> float:
        return math.prod(self.factors[: bisect.bisect_right(self.milestones, step)])


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to 0 over `total` steps (Loshchilov and Hutter 2017, one period)."""

    total: int

    def __call__(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step / max(self.total, 1), 1.0)))


@dataclass(frozen=True)
class Poly:
    """(1 - t) to a power, from 1 to 0 over `total` steps (Chen et al. 2017, DeepLab)."""

    total: int
    power: float = 0.9

    def __call__(self, step: int) -> float:
        return (1 - min(step / max(self.total, 1), 1.0)) ** self.power


@dataclass(frozen=True)
class OneCycle:
    """A cosine from `start` up to 1 over `peak_fraction` of the steps, then down to `end` (Smith and Topin 2018)."""

    total: int
    peak_fraction: float = 0.3
    start: float = 0.04
    end: float = 1e-5

    def __call__(self, step: int) -> float:
        peak = max(self.total * self.peak_fraction, 1e-9)
        if step < peak:
            return _cosine_between(self.start, 1.0, step / peak)
        return _cosine_between(1.0, self.end, min((step - peak) / max(self.total - peak, 1), 1.0))


def _cosine_between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * fraction))


@dataclass(frozen=True)
class Warmup:
    """From `start` to 1 over `steps`, with a power of the part that is done, then `after` from its first step."""

    steps: int
    start: float
    after: Curve
    power: float = 1.0  # 1: a line

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.start + (1 - self.start) * step**self.power / self.steps**self.power
        return self.after(step - self.steps)


@dataclass(frozen=True)
class Hold:
    """1 for `steps`, in which the head alone is trained, then `after` from its first step."""

    steps: int
    after: Curve

    def __call__(self, step: int) -> float:
        return 1.0 if step < self.steps else self.after(step - self.steps)


def build_curve(section: recipe.Schedule, *, total_steps: int, steps_per_epoch: int, hold_steps: int = 0) -> Curve:
    """Return the curve that a recipe's schedule describes, after `hold_steps` at the full rate."""
    # A run that is shorter than its warm-up would never reach its learning rate, so at most half of it is warm-up.
    warmup = section.warmup_steps or round(section.warmup_epochs * steps_per_epoch)
    warmup = min(warmup, (total_steps - hold_steps) // 2)
    left = total_steps - hold_steps - warmup
    curve: Curve = Constant()
    if section.name == "cosine":
        curve = Cosine(left)
    elif section.name == "linear":
        curve = Poly(left, 1.0)
    elif section.name == "poly":
        curve = Poly(left)
    elif section.name == "one_cycle":
        curve = OneCycle(left, section.peak_fraction)
    elif section.name == "step":
        curve = _step(section, steps_per_epoch, offset=hold_steps + warmup)
    if warmup:
        curve = Warmup(warmup, section.warmup_factor, curve, section.warmup_power)
    return Hold(hold_steps, curve) if hold_steps else curve


def build_stem_curve(section: recipe.Schedule, *, steps_per_epoch: int) -> Curve | None:
    """Return the curve of a whitening stem, or None where it has no own."""
    return None if section.stem_epochs is None else Poly(round(section.stem_epochs * steps_per_epoch), 1.0)


def _step(section: recipe.Schedule, steps_per_epoch: int, offset: int) -> Step:
    """Milestones count from the beginning of the run, `offset` steps before this curve begins."""
    of_epochs = tuple(round(epoch * steps_per_epoch) for epoch in section.milestones_epochs)
    milestones = section.milestones_steps or of_epochs
    if not milestones:
        keys = "`schedule.milestones_epochs` or `schedule.milestones_steps`"
        raise UserError(f"`schedule.name=step` needs {keys}, such as 30,60.")
    factors = section.factors or (section.factor,) * len(milestones)
    if len(factors) != len(milestones):
        numbers, steps = pluralize(len(factors), "number"), pluralize(len(milestones), "milestone")
        raise UserError(f"`schedule.factors` has {numbers} for {steps}.")
    return Step(tuple(step - offset for step in milestones), factors)


@dataclass
class LRController:
    """The learning-rate factor of each step: the curve times the factor of the plateau rule. Its state is saved with the run."""

    curve: Curve
    section: recipe.Schedule
    stem_curve: Curve | None = None  # of a whitening stem; None: as all others
    plateau_scale: float = 1.0  # product of the factors applied on plateaus
    best: float = math.inf
    num_bad_epochs: int = 0  # since the lowest validation loss
    in_warmup: bool = field(init=False)  # of `warmup_until_error`
    # (number of wrong predictions, number of images) of the latest batches.
    window: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.in_warmup = self.section.warmup_until_error is not None

    def factor(self, step: int) -> float:
        """Return the factor of the full learning rate at `step`."""
        return self.section.warmup_factor if self.in_warmup else self.curve(step) * self.plateau_scale

    def stem_factor(self, step: int) -> float:
        """Return the factor of the learning rate of a whitening stem at `step`."""
        return self.factor(step) if self.stem_curve is None else self.stem_curve(step) * self.plateau_scale

    def after_step(self, num_wrong: float, num_images: float) -> bool:
        """Update with the errors of one training batch; return True when the warm-up has just ended."""
        if not self.in_warmup:
            return False
        self.window = [*self.window, (num_wrong, num_images)][-ERROR_WINDOW_STEPS:]
        error = sum(wrong for wrong, _ in self.window) / sum(count for _, count in self.window)
        self.in_warmup = len(self.window) < ERROR_WINDOW_STEPS or error >= (self.section.warmup_until_error or 0)
        return not self.in_warmup

    def after_epoch(self, val_loss: float) -> bool:
        """Update with the loss of one validation; return True when the learning rate was lowered on a plateau."""
        if self.section.plateau_epochs is None:
            return False
        # The relative threshold of torch's and Keras's ReduceLROnPlateau.
        if val_loss < self.best * (1 - 1e-4):
            self.best, self.num_bad_epochs = val_loss, 0
            return False
        self.num_bad_epochs += 1
        if self.num_bad_epochs < self.section.plateau_epochs or self.plateau_scale <= self.section.plateau_min_factor:
            return False
        self.plateau_scale = max(self.plateau_scale * self.section.plateau_factor, self.section.plateau_min_factor)
        self.num_bad_epochs = 0
        return True

    def state_dict(self) -> dict:
        state = {"plateau_scale": self.plateau_scale, "best": self.best, "num_bad_epochs": self.num_bad_epochs}
        return state | {"in_warmup": self.in_warmup, "window": self.window}

    def load_state_dict(self, state: dict) -> None:
        self.plateau_scale, self.best = state["plateau_scale"], state["best"]
        self.num_bad_epochs, self.in_warmup = state["num_bad_epochs"], state["in_warmup"]
        self.window = [tuple(pair) for pair in state["window"]]
