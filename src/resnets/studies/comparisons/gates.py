"""The gates of highway networks: whether they compute their equation, and how open they are after a training."""

from pathlib import Path

import torch
from torch import Tensor, nn

from resnets.message_format import pluralize
from resnets.models.blocks import HighwayBlock
from resnets.studies.inputs import ImageSet, as_tensor
from resnets.studies.study import Control
from resnets.weights import checkpoint as checkpoints


@torch.no_grad()
def gate_control(name: str, net: nn.Module) -> Control:
    """Whether each block computes its equation: with a gate of 1/2 the mean of branch and input, with a closed gate the
    input. The network is changed.
    """
    found = [_from_equation(each) for each in net.modules() if isinstance(each, HighwayBlock)]
    half, closed = (max(values) for values in zip(*((half, closed) for half, closed, _ in found), strict=True))
    differs = min(branch for *_, branch in found)
    words = f"{half:.1g} and {closed:.1g} from the equation in {pluralize(len(found), 'block')}"
    return Control(f"{name}: gates of 1/2 and of 0", words, max(half, closed) < 1e-12 < differs)


def _from_equation(block: HighwayBlock) -> tuple[float, float, float]:
    """How far the output is from the mean of branch and input, and from the input; and the branch from the input."""
    block.double().eval()
    assert block.gate.bias is not None
    x = torch.randn(2, block.channels, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    branch = block.branch(x)
    nn.init.zeros_(block.gate.weight)
    nn.init.zeros_(block.gate.bias)
    half = float((block(x) - (branch + x) / 2).abs().max())
    nn.init.constant_(block.gate.bias, -50.0)
    closed = float((block(x) - x).abs().max())
    return half, closed, float((branch - x).abs().max())


@torch.inference_mode()
def openness(run: Path, images: ImageSet) -> list[float]:
    """The mean of each gate T of a run's last weights, by layer, over the images, channels and positions."""
    checkpoint = checkpoints.read(run / "weights" / "last.safetensors")
    net = checkpoints.network(checkpoint)
    blocks = [each for each in net.modules() if isinstance(each, HighwayBlock)]
    sums = [0.0] * len(blocks)

    def add(index: int, gates: Tensor) -> None:
        sums[index] += float(gates.mean()) * len(gates)

    for index, block in enumerate(blocks):
        block.sigmoid.register_forward_hook(lambda _, __, gates, index=index: add(index, gates))
    for batch in images.batches(checkpoint.preprocess):
        net(as_tensor(batch.images))
    return [each / len(images) for each in sums]
