"""New networks of CIFAR-10's form: plain, with shortcuts and pre-activation, with and without batch norm, by initialization."""

from collections.abc import Callable

import torch
from torch import nn

from resnets.models import initialization, shortcuts, zoo
from resnets.models.blocks import PlainBlock
from resnets.models.resnet import ResNet
from resnets.studies.measurements.edit_blocks import with_shortcut

# What the settings are named, whether there is batch norm, and the initialization; `kaiming` is He's.
SETTINGS: dict[str, tuple[bool, Callable[[nn.Module], None]]] = {
    "batch norm, He": (True, initialization.kaiming_),
    "no norm, He": (False, initialization.kaiming_),
    "no norm, Glorot": (False, initialization.xavier_),
    "no norm, N(0, 0.01)": (False, initialization.small_normal_),
}
PLAIN, SHORTCUTS, PREACTIVATION = "plain", "residual", "pre-activation"


def network(kind: str, depth: int, setting: str, num_classes: int, seed: int) -> ResNet:
    """A plain network, the same with shortcuts (option A), or that of He et al. 2016; float64: fp32 ends at 1e-45."""
    has_norm, initialize = SETTINGS[setting]
    torch.manual_seed(seed)
    name = "cifar_preresnet110" if kind == PREACTIVATION else "cifar_plain20"
    net = zoo.build(name, num_classes=num_classes, num_blocks=((depth - 2) // 6,) * 3)
    initialize(net)
    if kind == SHORTCUTS:
        _add_shortcuts(net)
    if not has_norm:
        _remove_norms(net)
    return net.double().train()


def _add_shortcuts(net: ResNet) -> None:
    channels = net.stem.channels
    for stage in net.stages.values():
        for name, block in list(stage.named_children()):
            assert isinstance(block, PlainBlock)
            same = block.stride == 1 and block.channels == channels
            shortcut = nn.Identity() if same else shortcuts.ZeroPad(channels, block.channels, block.stride)
            stage._modules[name] = with_shortcut(block, shortcut)
            channels = block.channels


def _remove_norms(net: nn.Module) -> None:
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                module._modules[name] = nn.Identity()
            elif isinstance(child, nn.ReLU):
                # In place, it would change the input of a pre-activation block, which the shortcut reads.
                child.inplace = False
