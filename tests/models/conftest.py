"""What the comparisons with independent implementations share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from resnets.models import zoo
from resnets.models.resnet import ResNet

Network = TypeVar("Network", bound=nn.Module)


def _randomize(net: nn.Module, scale: float, generator: torch.Generator) -> None:
    """Give every weight and every statistic a random value, so that no part can hide behind a 1 or a 0."""

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float32) * (high - low) + low)

    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            uniform(module.weight, 0.6 * scale, 1.4 * scale)
            signs = torch.rand(module.weight.shape, generator=generator, dtype=torch.float32) < 0.2
            module.weight[signs] *= -1  # a negative scale tells apart what a positive one cannot
            uniform(module.bias, -0.3, 0.3)
            module.running_mean.normal_(0, 0.2, generator=generator)
            uniform(module.running_var, 0.5, 1.5)
            module.num_batches_tracked.zero_()
        elif isinstance(module, nn.LayerNorm):
            uniform(module.weight, 0.6, 1.4)
            uniform(module.bias, -0.3, 0.3)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            values = torch.randn(module.weight.shape, generator=generator, dtype=torch.float32)  # quicker than float64
            module.weight.copy_(values.mul_((2 / module.weight[0].numel()) ** 0.5))
            if module.bias is not None:
                uniform(module.bias, -0.3, 0.3)


class Parity:
    """The means of a comparison: everything in float64, all tensors shared and not copied."""

    SIZES = ((64, 64), (97, 129))  # one that every stride divides, and one that none does

    def ours(self, name: str, *, scale: float = 1.0, **overrides: Any) -> ResNet:
        """Our network in evaluation, with random weights and random statistics.

        `scale` is that of the normalizations: 1 keeps the image alive through 110 plain layers; less than 1 keeps the
        values small where gates, whose error is that of their input and not relative to it, follow each other.
        """
        return self.randomized(self.blank(lambda: zoo.build(name, **overrides)), scale=scale)

    def randomized(self, net: Network, *, scale: float = 1.0) -> Network:
        """A blank network with random weights and random statistics, as of `ours`."""
        net = net.to_empty(device="cpu")
        with torch.no_grad():
            _randomize(net, scale, torch.Generator().manual_seed(0))
        return net

    def blank(self, make: Callable[[], Network]) -> Network:
        """A network in evaluation without memory, to be filled with `fill`."""
        with torch.device("meta"):
            return make().eval()

    def fill(self, theirs: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Make `tensors` the weights of their network, each used and none left over."""
        theirs.load_state_dict(dict(tensors), strict=True, assign=True)

    def agree(self, ours: nn.Module, theirs: Callable[[Tensor], Tensor], sizes: Any = SIZES) -> None:
        """Assert that both give the same logits for random images of each size, to 1e-9 of the largest."""
        before: Tensor | None = None
        for size in sizes:
            image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
            with torch.inference_mode():
                found, wanted = ours(image), theirs(image)
            assert found.dtype == wanted.dtype == torch.float64
            assert found.shape == wanted.shape
            largest = wanted.abs().max()
            assert largest > 1e-3, "the comparison must not be of zeros"
            mean = wanted.mean((2, 3)) if wanted.dim() == 4 else wanted  # of all pixels
            assert before is None or (before - mean).abs().max() > 1e-4 * largest, "logits must depend on the image"
            assert (found - wanted).abs().max() < 1e-9 * largest
            before = mean


@pytest.fixture
def parity() -> Iterator[Parity]:
    """`Parity`, with float64 as the type of new tensors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield Parity()
    torch.set_default_dtype(before)
