"""Class activation maps: what each position of the last feature map adds to the logit of a class.

Zhou et al. 2016, "Learning Deep Features for Discriminative Localization". Behind global average pooling and one linear layer,
the mean of the map of a class plus its bias is its logit. For any other head, the map is the gradient of the logit times the
features, summed over the channels (Draelos and Carin 2020, "HiResCAM"): then the mean of the map plus a number is the logit, too,
where the head is linear piece by piece, and for a linear head it is the same map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from resnets.models.resnet import ResNet


def has_linear_head(net: ResNet) -> bool:
    """Whether the head is global average pooling and one linear layer."""
    pools_all = isinstance(net.pool, nn.AdaptiveAvgPool2d) and net.pool.output_size in (1, (1, 1))
    return pools_all and isinstance(net.fc, nn.Linear) and not hasattr(net.head, "hidden")


def linear_maps(weight: Tensor, features: Tensor) -> Tensor:
    """The maps (N, L, h, w) of L classes of a network with a linear head, of their rows (L, C) of its last layer."""
    return conv2d(features, weight[:, :, None, None])


def class_maps(net: ResNet, features: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The maps of some classes, and what has to be added to their means to give the logits, in the unit of the logits.

    Args:
        features: (N, C, h, w), the result of `net.forward_features`, on its device and in the type of its tensors.
        classes: the indices of L outputs.

    Returns:
        (N, L, h, w) and (N, L).
    """
    chosen = list(classes)
    if has_linear_head(net):
        with torch.no_grad():
            maps = linear_maps(net.fc.weight[chosen], features)
            bias = features.new_zeros(len(chosen)) if net.fc.bias is None else net.fc.bias[chosen]
            return maps, bias.expand(len(features), -1)
    with torch.inference_mode(False), torch.enable_grad():
        values = features.detach().clone().requires_grad_()
        logits = net.forward_head(values)[:, chosen]
        gradients = [torch.autograd.grad(each.sum(), values, retain_graph=True)[0] for each in logits.unbind(1)]
    positions = features.shape[-2] * features.shape[-1]
    maps = torch.stack([(positions * gradient * values.detach()).sum(1) for gradient in gradients], 1)
    return maps, logits.detach() - maps.mean((2, 3))


class FeaturesAndLogits(nn.Module):
    """Images (N, C, H, W) -> "logits" (N, K), and "features" (N, channels, h, w), which are the last feature map.

    It shares the modules of `net`.
    """

    def __init__(self, net: ResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.finish(self.net.forward_features(x))

    def finish(self, features: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net.forward_head(features), "features": features}
