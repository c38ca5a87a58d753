"""The top-1 error of a network, on images in memory or in files."""

import torch
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.models.resnet import ResNet
from resnets.studies.inputs import ImageSet, as_tensor

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


@torch.inference_mode()
def error_on_files(net: ResNet, images: ImageSet, preprocess: Preprocess) -> float:
    """The same for the labeled images of files, in fp32; the network is put into eval mode."""
    net.eval()
    predicted = torch.cat([net(as_tensor(batch.images)).argmax(dim=1) for batch in images.batches(preprocess)])
    return 100 * float((predicted != images.labels).double().mean())
