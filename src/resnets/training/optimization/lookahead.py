"""Lookahead (Zhang et al. 2019): the weights of a training are moved back to an average of those before, every few steps."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

LAST_DECAY = 0.95


class Lookahead(AveragedModel):
    """The average of a network, buffers included; call `update_parameters(net)` after each step.

    Every `interval` steps the average moves to the network by 1 - LAST_DECAY ** interval * (step / total) ** 3, and the network
    becomes the average (Jordan 2024, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, section 3.4). It does so after the last
    step, too, so that the result of the run is the average.
    """

    def __init__(self, net: nn.Module, *, interval: int, total_steps: int) -> None:
        super().__init__(net, use_buffers=True)
        self.interval, self.total_steps = interval, total_steps

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Count a step, and average where it is due."""
        self.n_averaged += 1
        step = int(self.n_averaged)  # on the CPU
        if step % self.interval and step != self.total_steps:
            return
        decay = LAST_DECAY**self.interval * (step / self.total_steps) ** 3
        averages = [*self.module.parameters(), *self.module.buffers()]
        values = [*model.parameters(), *model.buffers()]
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
                value.copy_(average)
            else:  # the counters of batch norm
                average.copy_(value)
