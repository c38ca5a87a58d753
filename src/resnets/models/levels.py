"""Levels: the feature maps of a backbone at the strides that a detector or a segmenter wants, whatever the network."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from resnets.errors import UserError
from resnets.models.backbone import Backbone
from resnets.models.blocks import PreActBlock
from resnets.models.variants.block_variants import ActOnlyBlock

MAX_NEW_CHANNELS = 512  # as many as the last stage of ResNet-18 has


class Levels(nn.Module):
    """The deepest feature map of each wanted stride, from `Backbone.features`.

    Strides above the last map's are made by 3x3 convolutions of stride 2, norm and ReLU, each on the map before it and with
    twice its channels, at most 512 or as many as it has. The inner maps of a pre-activation network are sums without norm
    and activation (He et al. 2016), which are added here: norm and ReLU.

    Args:
        backbone: is read, not kept; its maps are given to `forward`.
        strides: ascending powers of two.

    Attributes:
        strides: as given.
        channels: of each level.

    Raises:
        UserError: the network has no map of a stride that is below its last map's.
    """

    def __init__(self, backbone: Backbone, strides: Sequence[int]) -> None:
        super().__init__()
        deepest = {stride: name for name, stride in backbone.feature_strides.items()}
        last = max(deepest)
        if missing := [stride for stride in strides if stride < last and stride not in deepest]:
            raise UserError(
                f"This model needs a feature map of stride {missing[0]}; the backbone has strides {sorted(deepest)}."
            )
        self.strides = tuple(strides)
        self.names = {
            stride: name for stride, name in deepest.items() if stride in strides or stride == last < max(strides)
        }
        channels = {stride: backbone.feature_channels[name] for stride, name in self.names.items()}
        self.norms = nn.ModuleDict()
        raw = ((s, name) for s, name in self.names.items() if s in strides and lacks_activation(backbone, name))
        self.norms.update({name: norm_act(channels[stride]) for stride, name in raw})
        self.new = nn.ModuleDict()
        while last < max(strides):
            channels[2 * last] = max(channels[last], min(2 * channels[last], MAX_NEW_CHANNELS))
            conv = nn.Conv2d(channels[last], channels[2 * last], 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            last *= 2
            self.new[f"stride{last}"] = nn.Sequential(
                OrderedDict([("conv", conv), *norm_act(channels[last]).named_children()])
            )
        self.channels = [channels[stride] for stride in strides]

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """One map for each stride, (N, channels, h, w), from the result of `Backbone.features`."""
        maps = {
            stride: self.norms[name](features[name]) if name in self.norms else features[name]
            for stride, name in self.names.items()
        }
        x = maps[max(maps)]
        for name, layer in self.new.items():
            maps[int(name.removeprefix("stride"))] = x = layer(x)
        return [maps[stride] for stride in self.strides]


def lacks_activation(backbone: Backbone, name: str) -> bool:
    """Whether the map of that name is a sum without norm and activation: an inner one of a pre-activation network."""
    preactivation = any(isinstance(module, PreActBlock | ActOnlyBlock) for module in backbone.modules())
    return preactivation and name != next(reversed(backbone.feature_strides))


def norm_act(channels: int) -> nn.Sequential:
    """Batch normalization and ReLU, which such a map lacks."""
    return nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(channels), act=nn.ReLU()))
