from __future__ import annotations

import torch
from torch import nn

from resnets.training.optimization.lookahead import Lookahead


def test_the_network_becomes_the_average_every_few_steps_and_after_the_last():
    net = nn.BatchNorm1d(3).double()
    lookahead = Lookahead(net, interval=2, total_steps=5)
    average = net.weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 6):
        with torch.no_grad():
            moved = net.weight + torch.randn(3, generator=generator, dtype=torch.float64)
            net.weight.copy_(moved)
            net.running_mean.fill_(step)
            net.num_batches_tracked.fill_(step)
        lookahead.update_parameters(net)
        if step in (2, 4, 5):
            decay = 0.95**2 * (step / 5) ** 3
            average = decay * average + (1 - decay) * moved
            assert torch.allclose(net.weight, average, rtol=1e-12)
            assert all(
                torch.equal(net.state_dict()[name], value) for name, value in lookahead.module.state_dict().items()
            )
        else:
            assert torch.equal(net.weight, moved)
            assert not torch.equal(lookahead.module.weight, moved)
    assert net.num_batches_tracked == 5
    assert 0 < net.running_mean[0] < 5
