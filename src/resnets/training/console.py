"""What is said of a run on its way: a line after each epoch, and the one that explains a loss that is no number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnets.data.loading.worker_processes import Batch
from resnets.progress import log
from resnets.training.state import TrainContext, TrainState

HIGH_DATA_TIME_FRACTION = 0.3


def log_trainable(context: TrainContext, state: TrainState, frozen: str) -> None:
    """What learns and what does not, whenever that changes."""
    if state.step == 0 and state.epoch == 0 and frozen:
        log(frozen)
    elif state.step == 0 and state.epoch == context.recipe.freeze.head_epochs > 0:
        log(frozen or "every tensor learns from here on")


def log_epoch(context: TrainContext, state: TrainState, row: dict[str, Any], *, gained: bool) -> None:
    """The numbers of the epoch that has just been saved, and what to make of them."""
    log(_line(row, gained))
    if state.epoch == 1 and row["data_time_fraction"] > HIGH_DATA_TIME_FRACTION:
        log(f"{row['data_time_fraction']:.0%} of the time goes into images: more `workers`, or `cache=ram`, may help")
    if state.finished and state.total_step < context.total_steps:
        patience = context.recipe.stop.patience_epochs
        log(f"stopped early: no gain in {patience} epochs; the best was epoch {state.best_epoch}")


def _line(row: dict[str, Any], gained: bool) -> str:
    line = f"epoch {row['epoch']}: train loss {row['train/loss']:.4f} top-1 {row['train/accuracy_top1']:.2%}"
    if row["val/loss"] is not None:
        line += f", val loss {row['val/loss']:.4f} top-1 {row['val/accuracy_top1']:.2%}{' (best)' if gained else ''}"
    share = f"{row['data_time_fraction']:.0%} of the time in data" if row["data_time_fraction"] is not None else ""
    return f"{line}, lr {row['lr']:.2g}, {row['images_per_second']:.0f} images/s, {share}"


def format_result(metrics: Mapping[str, Any], epoch: int) -> str:
    """How good the best weights are, with the words for what each figure was measured on; `metrics` as in `finish`."""
    low, high = metrics["top1_interval"]
    range_ = f"{metrics['top1']:.2%} (95 % interval {low:.1%} to {high:.1%})"
    selected = metrics if metrics["in_sample"] else metrics.get("selected")
    said = f"best: epoch {epoch}"
    if selected:
        said += f", top-1 {selected['top1']:.2%} on the {selected['count']:,} val images, which chose it"
    if metrics["split"] == "test":
        return f"{said}; on the {metrics['count']:,} test images, which chose nothing: {range_}"
    if metrics["in_sample"]:
        return f"{said}: expect less on other images"
    return f"{said}; cross-fitted, so that no image is judged by its own choice: {range_}"


def format_not_finite(context: TrainContext, step: int, batch: Batch | None, what: str) -> str:
    """Where it happened, and with which images."""
    rate = max(group["lr"] for group in context.optimizer.param_groups)
    files = ", ".join(context.train_data.paths[index] for index in batch.indices.tolist()) if batch else "none"
    number = (step - 1) // context.train_data.plan.steps_per_epoch + 1
    return (
        f"{what} at step {step} (epoch {number}, lr {rate:g}); try a lower `lr` or `optim.clip_norm=1`. "
        f"The images of that batch: {files}"
    )
