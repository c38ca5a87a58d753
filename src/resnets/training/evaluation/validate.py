"""Validation after each epoch: the task's metrics on the validation split."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from resnets import ranks
from resnets.data.datasets.dataset import Sample
from resnets.data.loading.batch import Batch
from resnets.data.loading.eval_loader import EvalBatch, EvalLoader
from resnets.errors import DivergedError
from resnets.nested_tensors import map_tensors
from resnets.tasks.base import Task
from resnets.tasks.measurements import Measurements, concatenate
from resnets.training import console, distributed
from resnets.training.precision import autocast
from resnets.training.run_dir.signals import Interrupted, iterate_until_signal
from resnets.training.state import TrainContext, TrainState, train_means


def epoch_metrics(
    context: TrainContext, state: TrainState, last_batch: Batch | None, received: Sequence[int]
) -> tuple[dict[str, Any], Measurements | None]:
    """Validate after an epoch and return its row of `metrics.jsonl`; `state` is not changed.

    Returns:
        The row, and the measurements of the val split; None without a val split.

    Raises:
        Interrupted: a signal was `received`, before or during the validation.
        DivergedError: the validation loss is not finite.
    """
    if distributed.any_rank(bool(received)):  # it may have reached a rank after the last check of the losses
        raise Interrupted
    sums, num_images = state.sums, max(state.sums["num_images"], 1)
    seconds = round(state.seconds + sums["step_time_seconds"], 2)
    row: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.total_step, "time_seconds": seconds}
    row |= train_means(sums)
    measurements = validate(context, received)
    if measurements is not None:
        metrics = context.task.validation_metrics(measurements)
        row |= {f"val/{name}": value for name, value in metrics.items()}
        if not math.isfinite(metrics.get("loss", 0.0)):
            what = f"The validation loss became {metrics['loss']}"
            terms = {name: value for name, value in metrics.items() if name.startswith(console.TERM)}
            indices = [] if last_batch is None else last_batch.indices.tolist()
            lr = console.largest_lr(context)
            raise DivergedError(console.format_not_finite(context, state.total_step, lr, indices, what, terms))
    if tested := _measure_split(context, context.test, context.test_samples, received):
        row |= {f"test/{name}": value for name, value in context.task.validation_metrics(tested).items()}
    row["lr"] = console.largest_lr(context)
    row["images_per_second"] = round(num_images / max(sums["step_time_seconds"], 1e-9), 1)
    row["data_time_fraction"] = round(sums["data_time_seconds"] / max(sums["step_time_seconds"], 1e-9), 3)
    return row, measurements


def validate(context: TrainContext, received: Sequence[int] = ()) -> Measurements | None:
    """Return the measurements of the val split, at the precision of the training, in the order of its examples.

    Raises:
        Interrupted: a signal was `received` during the validation.
    """
    return _measure_split(context, context.val, context.val_samples, received)


def _measure_split(
    context: TrainContext, loader: EvalLoader | None, samples: Sequence[Sample], received: Sequence[int]
) -> Measurements | None:
    if loader is None:
        return None
    distributed.broadcast_buffers(context.eval_model)
    # Several ranks stop together, after each has evaluated its images.
    images = loader if ranks.world_size() > 1 else iterate_until_signal(received, loader)
    rank, size, count = ranks.rank(), ranks.world_size(), len(samples)
    local_samples = samples[count * rank // size : count * (rank + 1) // size]
    model = context.accept_features(context.eval_model)
    local = measure(context.task, model, images, local_samples, context.device, context.precision)
    gathered = [each for each in distributed.all_gather_object(local) if each is not None]
    if distributed.any_rank(bool(received)):
        raise Interrupted
    return concatenate(gathered)


@torch.no_grad()
def measure(
    task: Task, model: nn.Module, batches: Iterable[EvalBatch], samples: Sequence[Sample], device: str, precision: str
) -> Measurements | None:
    """Return the measurements of the samples, None if there are none; the model stays in eval mode.

    Args:
        batches: of preprocessed images.
    """
    model.eval()
    targets = task.targets(samples)
    measured: list[Measurements] = []
    for first, images, placements in batches:
        part = slice(first, first + len(images))
        images = map_tensors(images, torch.Tensor, lambda each: _to_device(each, device))
        placed = None
        if task.spatial_targets:
            pairs = zip(targets[part], placements, strict=True)
            placed = task.collate([task.place(target, placement) for target, placement in pairs])
            placed = map_tensors(placed, torch.Tensor, lambda each: each.to(device))
        with autocast(precision, device):
            outputs = task.forward(model, images, placed)
        outputs = map_tensors(outputs, torch.Tensor, _to_cpu)
        measured.append(task.measure(outputs, samples[part], targets[part], placements))
    return concatenate(measured) if measured else None


def _to_cpu(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.float().cpu() if outputs.is_floating_point() else outputs.cpu()


def _to_device(images: torch.Tensor, device: str) -> torch.Tensor:
    if images.ndim == 4:
        return images.to(device, memory_format=torch.channels_last)
    return images.to(device)
