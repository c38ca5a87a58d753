"""Initial weights: Kaiming (He) and Xavier (Glorot) initialization, and the layers that start at zero."""

import torch
from torch import nn

from resnets.models.attention import CBAM
from resnets.models.blocks import BasicBranch, BottleneckBranch, HighwayBlock, PreActBasicBranch, PreActBottleneckBranch
from resnets.models.variants.block_variants import GatedBlock


def kaiming_(net: nn.Module) -> None:
    """Convolutions from N(0, 2 / (k * k * out_channels)), their biases at zero (He et al. 2015, Delving Deep into Rectifiers).

    The variance keeps the size of the gradient (`fan_out`), as in fb.resnet.torch, resnet-pre-act.lua and torchvision. Linear
    layers keep torch's default, as in torchvision.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def xavier_(net: nn.Module) -> None:
    """Convolutions and linear layers uniform, biases at zero (Glorot and Bengio 2010): the default of Keras."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def dirac_(net: nn.Module) -> None:
    """Convolutions that copy their input channels to their first outputs, as do those of Jordan 2024 (94% on CIFAR-10 in 3.29
    Seconds on a Single GPU, section 3.3); the other outputs keep torch's default.

    Linear layers have a standard deviation of 1 / in_features, which is small for logits, and biases at zero.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.requires_grad and module.groups == 1:
            nn.init.dirac_(module.weight.detach()[: module.in_channels])
        elif isinstance(module, nn.Linear):
            with torch.no_grad():
                module.weight /= module.weight.std() * module.in_features
            nn.init.zeros_(module.bias)


def gates_and_cbam_(net: nn.Module) -> None:
    """The biases of gates at their `gate_bias`, and the spatial attention of CBAM at one half."""
    for module in net.modules():
        if isinstance(module, HighwayBlock | GatedBlock):
            assert module.gate.bias is not None
            nn.init.constant_(module.gate.bias, module.gate_bias)
        elif isinstance(module, CBAM):
            nn.init.zeros_(module.norm.weight)  # sigmoid(0) everywhere: Jongchan/attention-module


def zero_init_residual_(net: nn.Module) -> None:
    """The last layer of each branch at zero, so that each block starts as its shortcut (Goyal et al. 2017)."""
    for module in net.modules():
        if isinstance(module, BasicBranch):
            nn.init.zeros_(module.norm2.weight)  # type: ignore[arg-type]
        elif isinstance(module, BottleneckBranch):
            nn.init.zeros_(module.norm3.weight)  # type: ignore[arg-type]
        elif isinstance(module, PreActBasicBranch):
            nn.init.zeros_(module.conv2.weight)
        elif isinstance(module, PreActBottleneckBranch):
            nn.init.zeros_(module.conv3.weight)


def small_normal_(net: nn.Module) -> None:
    """Convolutions from N(0, 0.01^2), their biases at zero, as before Glorot and He (Krizhevsky et al. 2012, section 5)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def looks_linear_(net: nn.Module) -> None:
    """A network without shortcuts that starts as a linear function of its images (Balduzzi et al. 2017, section 4).

    Each layer computes u and -u, in the halves of its channels, so that ReLU(u) - ReLU(-u) = u. Its weights are [W; -W] in the
    first layer, [[W, -W], [-W, W]] in all others, and [W, -W] in the last; W is as of `kaiming_` with half of the channels.
    Biases are 0. A batch norm keeps such pairs: its statistics of u and -u agree.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    first, *_, last = layers
    for layer in layers:
        weight = layer.weight
        rows = weight.shape[0] if layer is last else weight.shape[0] // 2
        columns = weight.shape[1] if layer is first else weight.shape[1] // 2
        quarter = weight.new_empty(rows, columns, *weight.shape[2:])
        nn.init.kaiming_normal_(quarter, mode="fan_out", nonlinearity="relu")
        row = quarter if layer is first else torch.cat((quarter, -quarter), dim=1)
        weight.copy_(row if layer is last else torch.cat((row, -row)))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
