"""Exponential moving average (EMA) of the weights and batch-norm statistics, which is validated and saved instead of them."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    """The average of a network, buffers included; call `update_parameters(net)` after each step.

    It is updated here and not by `AveragedModel`, which copies the number of updates, a tensor on the CPU, to the GPU, and so
    waits for all that the GPU has to do.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        super().__init__(net, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the network's present values; the first update copies them."""
        count = int(self.n_averaged)  # on the CPU
        # A smaller decay at first, or the random initial weights would stay in the average for 1 / (1 - decay) steps.
        decay = min(self.decay, (1 + count) / (10 + count))
        averages = [*self.module.parameters(), *self.module.buffers()]
        values = [*model.parameters(), *model.buffers()]
        floats: list[tuple[Tensor, Tensor]] = []
        for average, value in zip(averages, values, strict=True):
            if count and average.is_floating_point():
                floats.append((average, value))
            else:  # the counters of batch norm are copied
                average.copy_(value)
        if floats:
            torch._foreach_lerp_([average for average, _ in floats], [value for _, value in floats], 1 - decay)
        self.n_averaged += 1
