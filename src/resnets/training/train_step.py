"""One step of a training: the gradient of a batch, and the optimizer's step; nothing waits for the device."""

from typing import Any

import torch
from torch import nn

from resnets.data.loading.batch import Batch
from resnets.tasks.base import Losses
from resnets.training import distributed, precision
from resnets.training.optimization import optimizers
from resnets.training.state import TrainContext, TrainState


def train_step(context: TrainContext, state: TrainState, batch: Batch) -> Losses:
    """Take one optimizer step; return the losses before it, which nobody has looked at."""
    model = context.ddp_model
    assert model is not None  # the loop builds it at the start of an epoch
    controller, step = context.lr_controller, state.total_step
    optimizers.set_lr_factor(context.optimizer, controller.factor(step), controller.stem_factor(step))
    losses = backward(context, model, batch)
    context.scaler.step(context.optimizer)
    context.scaler.update()
    if context.ema is not None:
        context.ema.update_parameters(context.net)
    return losses


def backward(context: TrainContext, model: nn.Module, batch: Batch) -> Losses:
    """Compute the gradient of a batch, clipped as the recipe says; return its losses, detached.

    The gradient must not be used where the loss is not finite.
    """
    recipe, task = context.recipe, context.task
    batch = context.train_data.to_device(batch)
    context.optimizer.zero_grad(set_to_none=True)
    total, sums = torch.zeros((), device=context.device), dict[str, Any]()
    micro_batches = batch.chunk(recipe.optim.accumulate)
    for index, part in enumerate(micro_batches, start=1):
        with distributed.no_sync_until_last(model, last=index == len(micro_batches)):
            with precision.autocast(context.precision, context.device):
                losses = task.loss(model, part)
            loss = losses.total * (len(part.indices) / len(batch.indices))
            context.scaler.scale(loss).backward()
        total = total + loss.detach()
        sums = {name: sums.get(name, 0) + value.detach() for name, value in losses.sums.items()}
    if recipe.optim.clip_norm is not None:
        context.scaler.unscale_(context.optimizer)
        torch.nn.utils.clip_grad_norm_(context.net.parameters(), recipe.optim.clip_norm)
    return Losses(total, sums)
