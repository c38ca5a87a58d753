"""PSPNet's decoder (Zhao et al. 2017), as narrow as in segmentation_models_pytorch: the layer behind the pooling is a 1x1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnets.models.segmentation.decoders.pyramid_pooling import SIDES, PyramidPooling
from resnets.models.segmentation.layers import conv_norm_act


class PSPDecoder(nn.Module):
    """The last map and its averages, each with a quarter of its channels, joined by a 1x1 convolution.

    Args:
        in_channels: of the map.
        stride: of the map.
        channels: of the result.
        pool_norm: whether the average over the whole map is normalized.
        align_corners: how the averages are upsampled.
        dropout: probability of each channel of the result.
    """

    def __init__(
        self, in_channels: int, stride: int, channels: int, *, pool_norm: bool, align_corners: bool, dropout: float
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        quarter = in_channels // len(SIDES)
        self.pyramid = PyramidPooling(in_channels, quarter, norm_of_one=pool_norm, align_corners=align_corners)
        self.join = conv_norm_act(in_channels + len(SIDES) * quarter, channels, 1)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        x = maps[-1]
        return self.dropout(self.join(torch.cat([*self.pyramid(x), x], 1)))
