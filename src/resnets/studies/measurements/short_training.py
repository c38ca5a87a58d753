"""A training of a few hundred steps within a study, without files. Longer ones are runs of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from resnets.models.resnet import ResNet

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # He et al. 2015, section 4.2


def train(
    net: ResNet, images: Tensor, labels: Tensor, *, steps: int, batch: int, lr: float, seed: int, stop_at: Sequence[int]
) -> Iterator[int]:
    """Train in place by SGD on batches of unvaried images, and yield after the steps `stop_at`; in eval mode at the end.

    The batches depend on the seed, the number of images and `batch` only.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    order = torch.empty(0, dtype=torch.long)
    size = min(batch, len(images))
    net.train()
    for step in range(1, steps + 1):
        if len(order) < size:
            order = torch.randperm(len(images), generator=generator)
        chosen, order = order[:size], order[size:]
        optimizer.zero_grad()
        cross_entropy(net(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        if step in stop_at:
            yield step
            net.train()
    net.eval()
