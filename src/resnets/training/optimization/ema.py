"""Exponential moving average (EMA) of the weights and batch-norm statistics, which is validated and saved instead of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = list[Tensor] | tuple[Tensor, ...]


def build_average(net: nn.Module, decay: float) -> AveragedModel:
    """Return the average of `net`, buffers included; call its `update_parameters(net)` after each step."""

    @torch.no_grad()
    def update(averages: Tensors, values: Tensors, num_updates: Tensor | int) -> None:
        # A smaller decay at first, or the random initial weights would stay in the average for 1 / (1 - decay) steps.
        count = float(
            averaged.n_averaged
        )  # on the CPU, other than `num_updates`, for which a GPU would have to be waited
        early_decay = (1 + count) / (10 + count)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(values), 1 - min(decay, early_decay))
        else:
            for average, value in zip(averages, values, strict=True):  # the counters of batch norm are copied
                average.copy_(value)

    averaged = AveragedModel(net, multi_avg_fn=update, use_buffers=True)
    return averaged
