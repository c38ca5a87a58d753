"""The light decoder: top-down, with few channels and no pooling, for small images and processors."""

from collections.abc import Sequence

from torch import Tensor, nn

from resnets.models.segmentation.layers import conv_norm_act, resize


class LightDecoder(nn.Module):
    """Every map, reduced by a 1x1 convolution, is added to the upsampled sum of the coarser ones; a 3x3 follows.

    Lin et al. 2017, Feature Pyramid Networks for Object Detection, section 3; norm and ReLU, and only the finest level is used.

    Args:
        in_channels: of the feature maps.
        stride: of the finest map.
        channels: of all layers, at most as many as the last map has.
        dropout: probability of each channel of the result.
    """

    def __init__(self, in_channels: Sequence[int], stride: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.channels = channels = min(channels, in_channels[-1])
        self.stride = stride
        # From the coarsest map to the finest, as they are called.
        self.lateral = nn.ModuleList(conv_norm_act(each, channels, 1) for each in reversed(in_channels))
        self.smooth = nn.ModuleList(conv_norm_act(channels, channels, 3) for _ in in_channels[1:])
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        x, *finer = [layer(each) for layer, each in zip(self.lateral, reversed(maps), strict=True)]
        for layer, lateral in zip(self.smooth, finer, strict=True):
            x = layer(resize(x, lateral.shape[-2:]) + lateral)
        return self.dropout(x)
