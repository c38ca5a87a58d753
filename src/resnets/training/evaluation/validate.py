"""How good the weights are on the validation images, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets import ranks
from resnets.data.loading.worker_processes import Batch
from resnets.errors import JobError
from resnets.training import choose_device, console, distributed
from resnets.training.run_dir.signals import Interrupted, iterate_until_signal
from resnets.training.state import TrainContext, TrainState


def epoch_metrics(
    context: TrainContext, state: TrainState, last: Batch | None, received: Sequence[int]
) -> tuple[dict[str, Any], Tensor | None]:
    """The row of the epoch that has just ended, after a validation; `state` stays as it is.

    Returns:
        The row, and the logits of the val split, (N, K) in float32 on the CPU; None without a val split.

    Raises:
        Stopped: a signal was `received`, before or meanwhile.
        JobError: the loss on the validation images is no finite number.
    """
    if distributed.any_rank(bool(received)):  # it may have reached one process after the step's last word
        raise Interrupted
    sums, seen = state.sums, max(state.sums["num_images"], 1)
    seconds = round(state.seconds + sums["step_time_seconds"], 2)
    row: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.total_step, "time_seconds": seconds}
    row |= {"train/loss": sums["loss"] / seen, "train/accuracy_top1": sums["correct"] / seen}
    figures, logits = validate(context, received)
    row |= figures
    if row["val/loss"] is not None and not math.isfinite(row["val/loss"]):
        what = f"The loss on the validation images became {row['val/loss']}"
        raise JobError(console.format_not_finite(context, state.total_step, last, what))
    row["lr"] = max(group["lr"] for group in context.optimizer.param_groups)
    row["images_per_second"] = round(seen / max(sums["step_time_seconds"], 1e-9), 1)
    row["data_time_fraction"] = round(sums["data_time_seconds"] / max(sums["step_time_seconds"], 1e-9), 3)
    return row, logits


def validate(context: TrainContext, received: Sequence[int] = ()) -> tuple[dict[str, float | None], Tensor | None]:
    """Mean loss and accuracies on the val split, at the precision of the training, and the logits (N, K) of its images.

    Raises:
        Stopped: a signal was `received` meanwhile.
    """
    if context.val is None:
        return {"val/loss": None, "val/accuracy_top1": None, "val/accuracy_top5": None}, None
    distributed.broadcast_buffers(context.eval_model)
    # Several processes stop together, after each has done its share.
    images = context.val if ranks.world_size() > 1 else iterate_until_signal(received, context.val)
    mine = predict(context.accept_features(context.eval_model), images, context.device, context.precision)
    labels = context.val_labels
    logits = torch.cat(distributed.all_gather_object(mine))
    if distributed.any_rank(bool(received)):
        raise Interrupted
    best_five = logits.topk(min(5, logits.shape[1]), dim=1).indices
    figures: dict[str, float | None] = {
        "val/loss": float(cross_entropy(logits, labels)),
        "val/accuracy_top1": float((logits.argmax(1) == labels).double().mean()),
        "val/accuracy_top5": float((best_five == labels[:, None]).any(1).double().mean()),
    }
    return figures, logits


@torch.no_grad()
def predict(net: nn.Module, images: Iterable[tuple[int, Tensor]], device: str, precision: str) -> Tensor:
    """Logits (N, K) in float32 on the CPU; the net is left in eval mode."""
    net.eval()
    made: list[Tensor] = []
    for _, batch in images:
        with choose_device.autocast(precision, device):
            made.append(net(batch.to(device, memory_format=torch.channels_last)).float().cpu())
    return torch.cat(made) if made else torch.empty(0)  # joins with those of any width
