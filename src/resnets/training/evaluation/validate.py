"""Validation after each epoch: loss and accuracy on the validation split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnets import ranks
from resnets.data.loading.batch import Batch
from resnets.errors import JobError
from resnets.training import console, distributed
from resnets.training.precision import autocast
from resnets.training.run_dir.signals import Interrupted, iterate_until_signal
from resnets.training.state import TrainContext, TrainState


def epoch_metrics(
    context: TrainContext, state: TrainState, last_batch: Batch | None, received: Sequence[int]
) -> tuple[dict[str, Any], Tensor | None]:
    """Validate after an epoch and return its row of `metrics.jsonl`; `state` is not changed.

    Returns:
        The row, and the logits of the val split, float32 (N, K) on the CPU; None without a val split.

    Raises:
        Interrupted: a signal was `received`, before or during the validation.
        JobError: the validation loss is not finite.
    """
    if distributed.any_rank(bool(received)):  # it may have reached a rank after the last step's all-reduce
        raise Interrupted
    sums, num_images = state.sums, max(state.sums["num_images"], 1)
    seconds = round(state.seconds + sums["step_time_seconds"], 2)
    row: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.total_step, "time_seconds": seconds}
    row |= {"train/loss": sums["loss"] / num_images, "train/accuracy_top1": sums["correct"] / num_images}
    val_metrics, logits = validate(context, received)
    row |= val_metrics
    if row["val/loss"] is not None and not math.isfinite(row["val/loss"]):
        what = f"The validation loss became {row['val/loss']}"
        raise JobError(console.format_not_finite(context, state.total_step, last_batch, what))
    row["lr"] = max(group["lr"] for group in context.optimizer.param_groups)
    row["images_per_second"] = round(num_images / max(sums["step_time_seconds"], 1e-9), 1)
    row["data_time_fraction"] = round(sums["data_time_seconds"] / max(sums["step_time_seconds"], 1e-9), 3)
    return row, logits


def validate(context: TrainContext, received: Sequence[int] = ()) -> tuple[dict[str, float | None], Tensor | None]:
    """Return mean loss and accuracies on the val split, at the precision of the training, and the logits (N, K).

    Raises:
        Interrupted: a signal was `received` during the validation.
    """
    if context.val is None:
        return {"val/loss": None, "val/accuracy_top1": None, "val/accuracy_top5": None}, None
    distributed.broadcast_buffers(context.eval_model)
    # Several ranks stop together, after each has evaluated its images.
    images = context.val if ranks.world_size() > 1 else iterate_until_signal(received, context.val)
    local_logits = predict(context.accept_features(context.eval_model), images, context.device, context.precision)
    labels = context.val_labels
    logits = torch.cat(distributed.all_gather_object(local_logits))
    if distributed.any_rank(bool(received)):
        raise Interrupted
    top5 = logits.topk(min(5, logits.shape[1]), dim=1).indices
    val_metrics: dict[str, float | None] = {
        "val/loss": float(cross_entropy(logits, labels)),
        "val/accuracy_top1": float((logits.argmax(1) == labels).double().mean()),
        "val/accuracy_top5": float((top5 == labels[:, None]).any(1).double().mean()),
    }
    return val_metrics, logits


@torch.no_grad()
def predict(net: nn.Module, images: Iterable[tuple[int, Tensor]], device: str, precision: str) -> Tensor:
    """Return the logits, float32 (N, K) on the CPU; the network stays in eval mode."""
    net.eval()
    logits: list[Tensor] = []
    for _, batch in images:
        with autocast(precision, device):
            logits.append(net(batch.to(device, memory_format=torch.channels_last)).float().cpu())
    return torch.cat(logits) if logits else torch.empty(0)  # can be concatenated with logits of any width
