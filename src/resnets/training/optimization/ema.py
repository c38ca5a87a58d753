"""An exponential moving average of the weights and the BN statistics: what is validated and kept as best."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = list[Tensor] | tuple[Tensor, ...]


def build_average(net: nn.Module, decay: float) -> AveragedModel:
    """The average of `net`, buffers included; call `.update_parameters(net)` after each step."""

    @torch.no_grad()
    def update(means: Tensors, values: Tensors, count: Tensor | int) -> None:
        # A young average forgets faster, or it would drag the random initial weights along for 1 / (1 - decay) steps.
        young = (1 + float(count)) / (10 + float(count))
        if means[0].is_floating_point():
            torch._foreach_lerp_(list(means), list(values), 1 - min(decay, young))
        else:
            for mean, value in zip(means, values, strict=True):  # the counters of BN are no quantity to average
                mean.copy_(value)

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)
