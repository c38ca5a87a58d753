from __future__ import annotations

import torch
from torch import nn

from resnets.training.optimization import ema


def test_the_average_follows_weights_and_statistics():
    net = nn.BatchNorm1d(2)
    mean = ema.WeightAverage(net, 0.9)
    mean.update_parameters(net)
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.running_mean.fill_(5.0)
        net.num_batches_tracked.fill_(7)
    for _ in range(3):
        mean.update_parameters(net)
    # young averages keep 2/11, 3/12, 4/13 of what they had
    kept = (2 / 11) * (3 / 12) * (4 / 13)
    torch.testing.assert_close(mean.module.weight.detach(), torch.full((2,), 3 - 2 * kept))
    torch.testing.assert_close(mean.module.running_mean, torch.full((2,), 5 - 5 * kept))
    assert mean.module.num_batches_tracked == 7


def test_an_old_average_forgets_at_its_decay():
    net = nn.Linear(1, 1, bias=False)
    mean = ema.WeightAverage(net, 0.5)
    mean.update_parameters(net)
    mean.n_averaged.fill_(1000)
    with torch.no_grad():
        mean.module.weight.fill_(0.0)
        net.weight.fill_(1.0)
    mean.update_parameters(net)
    torch.testing.assert_close(mean.module.weight.detach(), torch.tensor([[0.5]]))
