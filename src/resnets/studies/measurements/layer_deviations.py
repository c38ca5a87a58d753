"""The standard deviation of what the 3x3 layers of a network give, after their norms (He et al. 2015, figure 7)."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.resnet import ResNet
from resnets.studies.measurements.edit_blocks import named_blocks


def norms_after_3x3(net: ResNet) -> list[nn.BatchNorm2d]:
    """The norm after each 3x3 convolution, in order: the layers of the figure.

    Raises:
        UserError: there are none, as in pre-activation networks, whose norms precede the convolutions.
    """
    found: list[nn.BatchNorm2d] = []
    last: nn.Conv2d | None = None
    for module in [*net.stem.modules(), *(each for block in named_blocks(net).values() for each in block.modules())]:
        if isinstance(module, nn.Conv2d):
            last = module
        elif isinstance(module, nn.BatchNorm2d):
            if last is not None and last.kernel_size == (3, 3) and last.out_channels == module.num_features:
                found.append(module)
            last = None
    if len(found) < 2:
        raise UserError(
            "The responses are those of norms that follow 3x3 convolutions, which this network does not have."
        )
    return found


@torch.inference_mode()
def deviations(net: ResNet, images: Tensor) -> np.ndarray:
    """float64 (layers,): the standard deviation of all values that each norm gives for these images."""
    values: list[float] = []
    hooks = [
        # The ReLU that follows works in place, so the number is taken at once.
        norm.register_forward_hook(lambda _module, _inputs, output: values.append(float(output.double().std())))
        for norm in norms_after_3x3(net)
    ]
    try:
        net(images)
    finally:
        for hook in hooks:
            hook.remove()
    return np.array(values)


def with_unit_norms(net: ResNet) -> ResNet:
    """A copy whose norms have a scale of 1 and a bias of 0, and use the statistics of the batch."""
    net = copy.deepcopy(net).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return net
