"""The loss of a network around its weights, in random directions (Li et al. 2018, Visualizing the Loss Landscape)."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from resnets.models.resnet import ResNet
from resnets.progress import progress_bar

STORED, OF_BATCH = "stored statistics", "statistics of the batch"  # of batch norm
BATCH = 100  # images
RADIUS = 1.0  # of the square, in units of the directions


def direction(net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """A random direction: each filter has the norm of the network's filter; biases and norms (1-D tensors) do not move."""
    found = {}
    for name, weight in net.named_parameters():
        random = torch.randn(weight.shape, generator=generator)
        moves = weight.ndim > 1
        scale = (
            weight.detach().flatten(1).norm(dim=1) / random.flatten(1).norm(dim=1)
            if moves
            else torch.zeros(len(weight))
        )
        found[name] = random * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return found


def with_norms(net: ResNet, statistics: str) -> ResNet:
    """A copy whose norms use the stored statistics, or those of each batch, without changing the stored ones."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and statistics == OF_BATCH:
            module.train()
            module.momentum = 0.0
    return net


@torch.inference_mode()
def loss(net: ResNet, parameters: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> float:
    """The mean cross-entropy of the network with other parameters."""
    batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    sums = [float(cross_entropy(functional_call(net, dict(parameters), (x,)), y, reduction="sum")) for x, y in batches]
    return sum(sums) / len(labels)


def surface(net: ResNet, seed: int, side: int, images: Tensor, labels: Tensor) -> np.ndarray:
    """float64 (side, side): the loss at the points of a square grid around the weights; the middle are the weights themselves."""
    generator = torch.Generator().manual_seed(seed)
    first, second = direction(net, generator), direction(net, generator)
    grid = np.linspace(-RADIUS, RADIUS, side) if side > 1 else np.zeros(1)
    weights = {name: weight.detach() for name, weight in net.named_parameters()}
    return np.array([
        [loss(net, {name: weight + a * first[name] + b * second[name] for name, weight in weights.items()}, images, labels)
         for b in grid.tolist()]
        for a in progress_bar(grid.tolist(), description="landscape", unit="rows")
    ])  # fmt: skip


def not_convex(losses: np.ndarray) -> float:
    """The share of inner points, in percent, at which the second differences are not those of a convex function.

    Where a loss is not finite, they are not.
    """
    middle = losses[1:-1, 1:-1]
    with np.errstate(invalid="ignore", over="ignore"):
        xx, yy = losses[2:, 1:-1] - 2 * middle + losses[:-2, 1:-1], losses[1:-1, 2:] - 2 * middle + losses[1:-1, :-2]
        xy = (losses[2:, 2:] - losses[2:, :-2] - losses[:-2, 2:] + losses[:-2, :-2]) / 4
        convex = (xx > 0) & (yy > 0) & (xx * yy - xy**2 > 0)
    return 100 * float(np.mean(~convex))
