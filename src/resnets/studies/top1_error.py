"""The top-1 error of a network on images that are in memory."""

import torch
from torch import Tensor

from resnets.models.resnet import ResNet

_BATCH = 500  # images


@torch.inference_mode()
def error_percent(net: ResNet, images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is that of another class, in percent.

    Args:
        net: in eval mode.
        images: (N, C, H, W).
        labels: int64 (N,).
    """
    predicted = torch.cat([net(batch).argmax(dim=1) for batch in images.split(_BATCH)])
    return 100 * float((predicted != labels).double().mean())
