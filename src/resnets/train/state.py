"""What a run is made of, where it has got to, and both into a file and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from resnets.data.loader import Evaluation, Place
from resnets.models.resnet import ResNet
from resnets.train import resume
from resnets.train.pictures import Feed
from resnets.train.recipe import Recipe
from resnets.train.schedule import Pace

SUMS = ("loss", "right", "seen", "waited_seconds", "took_seconds")


@dataclass
class Parts:
    """What a run is made of; built once by `resnets.train.build`."""

    recipe: Recipe
    net: ResNet
    optimizer: Optimizer
    pace: Pace
    ema: AveragedModel | None
    feed: Feed
    total_steps: int
    val: Evaluation | None
    val_labels: Tensor
    save_weights: Callable[[Path, nn.Module, dict[str, Any]], None]
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def judged(self) -> nn.Module:
        """The weights that are validated and kept: the average where there is one."""
        return self.net if self.ema is None else self.ema.module


@dataclass
class State:
    """Where a run has got to. `epoch` and `step` count what is done; sums are those of the epoch under way."""

    epoch: int = 0
    step: int = 0
    total_step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, float] = (-1.0, -math.inf)  # (accuracy, -loss) on the validation pictures
    best_epoch: int = 0
    epochs_without_gain: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS, 0.0))
    finished: bool = False
    extended_at: int | None = None  # the total step at which `--epochs +N` took a finished run up again

    def place(self, steps_per_epoch: int) -> Place:
        """Where the next batch lies: behind the last step of an epoch that is not yet validated it is the next one's."""
        return Place(self.epoch, self.step) if self.step < steps_per_epoch else Place(self.epoch + 1, 0)


def save(parts: Parts, state: State, folder: Path) -> None:
    """Save all that the next step depends on under `folder/state`."""
    optimizer_tensors, optimizer_facts = resume.optimizer_state(parts.optimizer)
    random_tensors, random_facts = resume.random_state()
    tensors = resume.prefixed("net", parts.net.state_dict()) | resume.prefixed("optimizer", optimizer_tensors)
    tensors |= resume.prefixed("random", random_tensors)
    if parts.ema is not None:
        tensors |= resume.prefixed("ema", parts.ema.state_dict())
    facts = {"state": vars(state), "pace": parts.pace.state_dict()}
    facts |= {"optimizer": optimizer_facts, "random": random_facts}
    resume.save(folder / "state", state.total_step, tensors, facts)


def restore(parts: Parts, folder: Path) -> State:
    """Put the newest whole state of the run into `parts`, and give where it stood."""
    tensors, facts = resume.load(folder / "state")
    parts.net.load_state_dict(resume.under("net", tensors))
    resume.restore_optimizer(parts.optimizer, resume.under("optimizer", tensors), facts["optimizer"])
    if parts.ema is not None:
        parts.ema.load_state_dict(resume.under("ema", tensors))
    parts.pace.load_state_dict(facts["pace"])
    resume.restore_random(resume.under("random", tensors), facts["random"])
    return _state(facts)


def read(folder: Path) -> State:
    """Where the newest whole state of the run stands."""
    return _state(resume.load(folder / "state")[1])


def _state(facts: dict[str, Any]) -> State:
    saved = facts["state"]
    return State(**(saved | {"best": tuple(saved["best"])}))
