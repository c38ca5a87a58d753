"""What a run logs: a line after each epoch, the result at the end, and the explanation of a loss that is not finite."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resnets.message_format import format_duration
from resnets.progress import log
from resnets.tasks.base import Task
from resnets.training.state import TrainContext, TrainState

HIGH_DATA_TIME_FRACTION = 0.3
TERM = "loss_"  # beginning of the names of the terms of a loss


def log_trainable(context: TrainContext, state: TrainState, frozen: str) -> None:
    """Log what is frozen at the start of the run and where that changes; `frozen` is the line of `freeze.apply`."""
    if state.step == 0 and state.epoch == 0 and frozen:
        log(frozen)
    elif state.step == 0 and state.epoch == context.recipe.freeze.head_epochs > 0:
        log(frozen or "all layers are trained from here on")


def log_epoch(context: TrainContext, state: TrainState, row: dict[str, Any], *, improved: bool) -> None:
    """Log the metrics of the epoch that has just been saved, slow data loading and early stopping."""
    left = ""
    # Steps of the head alone are faster than those that follow.
    if not state.finished and state.epoch > context.recipe.freeze.head_epochs:
        left = format_time_left(state.rows, context.total_steps)
    log(_format_epoch(row, improved) + left)
    if state.epoch == 1 and row["data_time_fraction"] > HIGH_DATA_TIME_FRACTION:
        fraction = f"{row['data_time_fraction']:.0%} of the time is spent waiting for images"
        log(f"{fraction}: more `workers`, or `cache=ram`, may help")
    if _is_first_after_a_tenth(state, context.total_steps):
        remark = context.task.epoch_remark(row, context.recipe)
        if remark:
            log(remark)
    if state.finished and state.total_step < context.total_steps:
        patience = context.recipe.stop.patience_epochs
        log(f"early stopping: no improvement in {patience} epochs; the best was epoch {state.best_epoch}")


def _is_first_after_a_tenth(state: TrainState, total_steps: int) -> bool:
    steps = [0, *(row["step"] for row in state.rows[-2:])]
    return 10 * steps[-2] < total_steps <= 10 * steps[-1]


def _format_epoch(row: dict[str, Any], improved: bool) -> str:
    line = f"epoch {row['epoch']}: train {_format_metrics(row, 'train/')}"
    if val := _format_metrics(row, "val/"):
        line += f", val {val}{' (best)' if improved else ''}"
    line += f", lr {row['lr']:.2g}, {row['images_per_second']:.0f} images/s"
    if row["data_time_fraction"] is not None:
        line += f", {row['data_time_fraction']:.0%} of the time waiting for images"
    return line


def _format_metrics(row: Mapping[str, Any], prefix: str) -> str:
    """Return the loss with its terms, and the first other metric: "loss 0.1234 (box 0.1, objectness 0.02) box_ap 0.3456"."""
    values = {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix) and row[name] is not None}
    terms = [f"{name.removeprefix(TERM)} {value:.3g}" for name, value in values.items() if name.startswith(TERM)]
    others = [f"{name} {value:.4f}" for name, value in values.items() if not name.startswith(TERM)][:2]
    return " ".join([*others[:1], *([f"({', '.join(terms)})"] if terms else []), *others[1:]])


def format_time_left(rows: Sequence[Mapping[str, Any]], total_steps: int) -> str:
    """Return the time of the remaining steps at the speed of the last epoch, such as ", about 1 h 35 min of training left"."""
    last, before = rows[-1], rows[-2] if len(rows) > 1 else {"step": 0, "time_seconds": 0.0}
    seconds = (last["time_seconds"] - before["time_seconds"]) / max(last["step"] - before["step"], 1)
    seconds *= total_steps - last["step"]
    return f", about {format_duration(seconds)} of training left"


def format_result(task: Task, metrics: Mapping[str, Any], epoch: int) -> str:
    """Return the headline of the best weights with the images that it was measured on; `metrics` as in `evaluate_run`."""
    headline = task.headline(metrics)
    selected = metrics if metrics["in_sample"] else metrics.get("selected")
    line = f"best: epoch {epoch}"
    if selected:
        if selected is not metrics:  # why there is no interval stands at the other images
            selected = {key: value for key, value in selected.items() if key != "interval_note"}
        line += f", {task.headline(selected)} on the {selected['count']:,} val images used to select it"
    if metrics["split"] == "test":
        return f"{line}; on the {metrics['count']:,} test images, not used for selection: {headline}"
    if metrics["in_sample"]:
        return f"{line}; expect a worse result on other images"
    return f"{line}; cross-fitted, so that no image is evaluated with an epoch that it helped to select: {headline}"


NAMED_FILES = 32  # in a message


def format_not_finite(
    context: TrainContext, step: int, lr: float, indices: Iterable[int], problem: str, terms: Mapping[str, float]
) -> str:
    """Return the message for a loss that is not finite, with such `terms` of it, its step, learning rate and images."""
    files = [context.train_data.paths[index] for index in indices]
    named_files = ", ".join(files[:NAMED_FILES]) or "none"
    if len(files) > NAMED_FILES:
        named_files += f" and {len(files) - NAMED_FILES:,} more"
    epoch = (step - 1) // context.train_data.plan.steps_per_epoch + 1
    named = ", ".join(f"{name} {value}" for name, value in terms.items() if not math.isfinite(value))
    problem += f" ({named})" if named else ""
    return (
        f"{problem} at step {step} (epoch {epoch}, lr {lr:g}); try a lower `lr` or `optim.clip_norm=1`. "
        f"The images of that batch: {named_files}"
    )


def largest_lr(context: TrainContext) -> float:
    """Return the learning rate of the latest step, that of the group with the largest one."""
    return max(group["lr"] for group in context.optimizer.param_groups)
