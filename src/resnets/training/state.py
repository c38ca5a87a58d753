"""What a run is made of, where it has got to, and both into a file and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from resnets import ranks
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.loading.loader import EvalLoader
from resnets.models.resnet import ResNet
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.training import distributed
from resnets.training.evaluation import best_checkpoint, cross_fitting
from resnets.training.evaluation.cross_fitting import CrossFit
from resnets.training.optimization.lr_schedule import LRController
from resnets.training.run_dir import state_file
from resnets.training.train_data import TrainData

SUMS = ("loss", "correct", "num_images", "data_time_seconds", "step_time_seconds")


class ImageOrFeatureModel(nn.Module):
    """Calls a network with images, or its head with what its own backbone made of them: (N, features, 1, 1)."""

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        head = self.net.head
        return head(x.flatten(1)) if x.shape[1:] == (head.in_features, 1, 1) else self.net(x)


@dataclass
class TrainContext:
    """What a run is made of; built once by `resnets.training.setup`."""

    recipe: Recipe
    net: ResNet
    optimizer: Optimizer
    lr_controller: LRController
    ema: AveragedModel | None
    train_data: TrainData
    total_steps: int
    val: EvalLoader | None
    val_labels: Tensor
    val_units: np.ndarray  # int64, which images of the val split are copies or of one group: these have the same number
    save_weights: Callable[[Path, nn.Module, dict[str, Any]], None]
    device: str = "cpu"
    precision: str = "fp32"
    ddp_model: nn.Module | None = None  # `net` as the loop calls it; made by `build_ddp_model`
    uses_cached_features: bool = False  # batches may hold what the frozen backbone made of the images

    def build_ddp_model(self) -> None:
        """Let `ddp_model` average the gradients of what learns now over all processes of the run."""
        self.ddp_model = None  # the one before takes its hooks away
        net = self.accept_features(self.net)
        if self.recipe.speed.compile:
            net = torch.compile(net)  # type: ignore[assignment]
        self.ddp_model = distributed.wrap_ddp(net)

    def accept_features(self, net: ResNet) -> nn.Module:
        """`net` as it is called with the batches of this run."""
        return ImageOrFeatureModel(net) if self.uses_cached_features else net

    @property
    def eval_model(self) -> ResNet:
        """The weights that are validated and kept: the average where there is one."""
        return self.net if self.ema is None else self.ema.module  # type: ignore[return-value]


@dataclass
class TrainState:
    """Where a run has got to. `epoch` and `step` count what is done; sums are those of the epoch under way."""

    epoch: int = 0
    step: int = 0
    total_step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: best_checkpoint.Score = best_checkpoint.WORST_SCORE  # on the val split
    best_epoch: int = 0
    epochs_without_gain: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS, 0.0))
    finished: bool = False
    extended_at: int | None = None  # the total step at which `--epochs +N` took a finished run up again
    crossfit: CrossFit | None = None  # of the main process; None without a val split, and before its first epoch

    def update_cross_fitting(self, logits: Tensor, labels: Tensor, units: np.ndarray) -> None:
        """Let the folds of the val split choose anew, after the epoch whose logits (N, K) these are."""
        self.crossfit = self.crossfit or cross_fitting.create(labels, units)
        if self.crossfit is not None:
            self.crossfit.update(self.epoch, logits, labels)

    def position(self, steps_per_epoch: int) -> EpochStep:
        """Where the next batch lies: behind the last step of an epoch that is not yet validated it is the next one's."""
        return EpochStep(self.epoch, self.step) if self.step < steps_per_epoch else EpochStep(self.epoch + 1, 0)


def save(context: TrainContext, state: TrainState, folder: Path) -> None:
    """Save all that the next step depends on under `folder/state`; every process of the run has to come here."""
    everyone = distributed.all_gather_object(state_file.random_state())
    if not distributed.is_main():
        return
    optimizer_tensors, optimizer_facts = state_file.optimizer_state(context.optimizer)
    tensors = state_file.add_prefix("net", context.net.state_dict()) | state_file.add_prefix(
        "optimizer", optimizer_tensors
    )
    for rank, (random_tensors, _) in enumerate(everyone):
        tensors |= state_file.add_prefix(_random(rank), random_tensors)
    if context.ema is not None:
        tensors |= state_file.add_prefix("ema", context.ema.state_dict())
    plain = {name: value for name, value in vars(state).items() if name != "crossfit"}
    facts: dict[str, Any] = {"state": plain, "lr_controller": context.lr_controller.state_dict()}
    if state.crossfit is not None:
        fold_tensors, facts["crossfit"] = state.crossfit.state()
        tensors |= state_file.add_prefix("crossfit", fold_tensors)
    facts |= {"optimizer": optimizer_facts, "random": [random_facts for _, random_facts in everyone]}
    state_file.save(folder / "state", state.total_step, tensors, facts)


def restore(context: TrainContext, folder: Path) -> TrainState:
    """Put the newest whole state of the run into `parts`, and give where it stood."""
    tensors, facts = distributed.broadcast_from_main(lambda: state_file.load(folder / "state"))
    # States of 0.1.0 have the stages of a network under "stages.".
    tensors = {name.replace(".stages.stage", ".stage", 1): tensor for name, tensor in tensors.items()}
    context.net.load_state_dict(state_file.strip_prefix("net", tensors))
    state_file.restore_optimizer(context.optimizer, state_file.strip_prefix("optimizer", tensors), facts["optimizer"])
    if context.ema is not None:
        context.ema.load_state_dict(state_file.strip_prefix("ema", tensors))
    context.lr_controller.load_state_dict(facts["lr_controller"])
    if len(facts["random"]) != ranks.world_size():
        log(
            f"begun with {len(facts['random'])} processes: with {ranks.world_size()} it goes on, but as another run would"
        )
    if (rank := ranks.rank()) < len(facts["random"]):
        state_file.restore_random_state(state_file.strip_prefix(_random(rank), tensors), facts["random"][rank])
    return _state(tensors, facts)


def _random(rank: int) -> str:
    return f"random{rank}"


def read(folder: Path) -> TrainState:
    """Where the newest whole state of the run stands."""
    return _state(*state_file.load(folder / "state"))


def _state(tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> TrainState:
    saved = facts["state"]
    folds = (
        cross_fitting.restore(state_file.strip_prefix("crossfit", tensors), facts["crossfit"])
        if "crossfit" in facts
        else None
    )
    return TrainState(**(saved | {"best": tuple(saved["best"])}), crossfit=folds)
