"""TrainContext (task, model, optimizer, data), TrainState (progress), and how they are saved and restored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from resnets import ranks
from resnets.data.datasets.dataset import Sample
from resnets.data.loading.epoch_order import EpochStep
from resnets.data.loading.eval_loader import EvalLoader
from resnets.progress import log
from resnets.recipes.recipe import Recipe
from resnets.tasks.base import Task
from resnets.tasks.measurements import Measurements
from resnets.training import distributed
from resnets.training.evaluation import cross_fitting
from resnets.training.evaluation.cross_fitting import CrossFit
from resnets.training.optimization.lr_schedule import LRController
from resnets.training.run_dir import state_file
from resnets.training.run_dir.trackers import Trackers
from resnets.training.train_data import TrainData

SUMS = ("loss", "num_images", "data_time_seconds", "step_time_seconds")  # and those of the task's `Losses`


def train_means(sums: Mapping[str, float]) -> dict[str, float]:
    """The loss and the task's sums per image, under the names that they have in `metrics.jsonl`."""
    num_images = max(sums["num_images"], 1)
    means = {"train/loss": sums["loss"] / num_images}
    return means | {f"train/{name}": value / num_images for name, value in sums.items() if name not in SUMS}


class ImageOrFeatureModel(nn.Module):
    """Call a network with images, or only its head with the pooled features of images, (N, in_features, 1, 1)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        head: Any = self.net.head
        return head(x.flatten(1)) if x.shape[1:] == (head.in_features, 1, 1) else self.net(x)


@dataclass
class TrainContext:
    """The objects that a run is made of; built by `setup/build_context.py`."""

    recipe: Recipe
    task: Task
    net: nn.Module
    optimizer: Optimizer
    lr_controller: LRController
    ema: AveragedModel | None
    train_data: TrainData
    total_steps: int
    val: EvalLoader | None  # the val examples of this rank
    val_samples: Sequence[Sample]  # of all ranks
    test: EvalLoader | None  # the test examples of this rank, for `track.test_each_epoch`; else None
    test_samples: Sequence[Sample]  # of all ranks
    val_clusters: np.ndarray  # int64 (N,), the same number for val images that are copies of each other or of one group
    save_weights: Callable[[Path, nn.Module, dict[str, Any]], None]
    device: str = "cpu"
    precision: str = "fp32"
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False))  # fp16 only
    ddp_model: nn.Module | None = None  # `net` as the loop calls it; set by `build_ddp_model`
    trackers: Trackers = field(default_factory=Trackers)  # none until the main process starts them
    uses_cached_features: bool = False  # batches may hold pooled features of the frozen backbone in place of images

    def build_ddp_model(self) -> None:
        """Wrap the network again, so that the gradients of the tensors that are trained now are averaged over all ranks."""
        self.ddp_model = None  # its hooks are removed with it
        net = self.accept_features(self.net)
        if self.recipe.speed.compile:
            net = torch.compile(net)  # type: ignore[assignment]
        self.ddp_model = distributed.wrap_ddp(net)

    def accept_features(self, net: nn.Module) -> nn.Module:
        """Return `net`, or a wrapper that accepts the cached features of this run as well."""
        return ImageOrFeatureModel(net) if self.uses_cached_features else net

    @property
    def eval_model(self) -> nn.Module:
        """The network that is validated and saved: the average of the weights (EMA) where there is one."""
        return self.net if self.ema is None else self.ema.module


@dataclass
class TrainState:
    """The progress of a run: `epoch` and `step` count what is done; `sums` are those of the current epoch."""

    epoch: int = 0
    step: int = 0
    total_step: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)  # means over `track.window_steps` training batches
    best: tuple[float, ...] | None = None  # the score of the best epoch on the val split
    best_epoch: int = 0
    num_bad_epochs: int = 0  # since the best one
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS, 0.0))
    window_sums: dict[str, float] = field(default_factory=dict)  # of the current window
    finished: bool = False
    extended_at: int | None = None  # the total step at which `--epochs +N` extended a finished run
    cross_fit: CrossFit | None = None  # on the main process; None without a val split and before the first epoch

    def update_cross_fitting(self, context: TrainContext, measurements: Measurements) -> None:
        """Update the cross-fitting with the measurements of the val split after an epoch."""
        if measurements.sums:
            return  # they cannot be divided into folds
        if self.cross_fit is None:
            strata = ["|".join(sample.labels or ()) for sample in context.val_samples]
            self.cross_fit = cross_fitting.create(strata, context.val_clusters)
        if self.cross_fit is not None:
            self.cross_fit.update(self.epoch, context.task, measurements)

    def add_sums(self, sums: Mapping[str, float]) -> None:
        """Add the sums of some steps to those of the epoch."""
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def add_to_window(self, step: int, sums: Mapping[str, float], window_steps: int) -> None:
        """Add the sums of one step, numbered from 1, to those of the current window, which ends after `window_steps`."""
        for name, value in sums.items():
            self.window_sums[name] = self.window_sums.get(name, 0.0) + value
        if step % window_steps == 0:
            self.windows.append({"step": step, **train_means(self.window_sums)})
            self.window_sums = {}

    def position(self, steps_per_epoch: int) -> EpochStep:
        """Return the position of the next batch; after the last step of an epoch it is the first one of the next epoch."""
        return EpochStep(self.epoch, self.step) if self.step < steps_per_epoch else EpochStep(self.epoch + 1, 0)


def save_state(context: TrainContext, state: TrainState, folder: Path) -> None:
    """Save all that the next step depends on under `folder/state`; every rank has to call this."""
    random_states = distributed.all_gather_object(state_file.random_state())
    if not distributed.is_main():
        return
    optimizer_tensors, optimizer_metadata = state_file.optimizer_state(context.optimizer)
    tensors = state_file.add_prefix("net", context.net.state_dict())
    tensors |= state_file.add_prefix("optimizer", optimizer_tensors)
    for rank, (random_tensors, _) in enumerate(random_states):
        tensors |= state_file.add_prefix(f"random{rank}", random_tensors)
    if context.ema is not None:
        tensors |= state_file.add_prefix("ema", context.ema.state_dict())
    progress = {name: value for name, value in vars(state).items() if name != "cross_fit"}
    metadata: dict[str, Any] = {"state": progress, "lr_controller": context.lr_controller.state_dict()}
    metadata["scaler"] = context.scaler.state_dict()
    if state.cross_fit is not None:
        fold_tensors, metadata["cross_fit"] = state.cross_fit.state()
        tensors |= state_file.add_prefix("cross_fit", fold_tensors)
    metadata |= {"optimizer": optimizer_metadata, "random": [random_metadata for _, random_metadata in random_states]}
    state_file.save(folder / "state", state.total_step, tensors, metadata)


def restore_state(context: TrainContext, folder: Path) -> TrainState:
    """Load the latest saved state into `context`, and return the progress of the run."""
    tensors, metadata = distributed.broadcast_from_main(lambda: state_file.load(folder / "state"))
    context.net.load_state_dict(state_file.strip_prefix("net", tensors))
    optimizer_tensors = state_file.strip_prefix("optimizer", tensors)
    state_file.restore_optimizer(context.optimizer, optimizer_tensors, metadata["optimizer"])
    if context.ema is not None:
        context.ema.load_state_dict(state_file.strip_prefix("ema", tensors))
    context.lr_controller.load_state_dict(metadata["lr_controller"])
    context.scaler.load_state_dict(metadata["scaler"])
    if len(metadata["random"]) != ranks.world_size():
        processes = f"begun with {len(metadata['random'])} processes and continued with {ranks.world_size()}"
        log(f"{processes}: the result will differ from that of an uninterrupted run")
    if (rank := ranks.rank()) < len(metadata["random"]):
        state_file.restore_random_state(state_file.strip_prefix(f"random{rank}", tensors), metadata["random"][rank])
    return _state(tensors, metadata)


def read_state(folder: Path) -> TrainState:
    """Return the progress of a run by its latest saved state."""
    return _state(*state_file.load(folder / "state"))


def _state(tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> TrainState:
    saved, cross_fit = metadata["state"], None
    if "cross_fit" in metadata:
        cross_fit = cross_fitting.restore(state_file.strip_prefix("cross_fit", tensors), metadata["cross_fit"])
    return TrainState(**(saved | {"best": saved["best"] and tuple(saved["best"])}), cross_fit=cross_fit)
