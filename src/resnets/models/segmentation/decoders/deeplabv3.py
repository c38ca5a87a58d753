"""DeepLabV3's decoder (Chen et al. 2017): ASPP of the last map and a 3x3 convolution."""

from collections.abc import Sequence

from torch import Tensor, nn

from resnets.models.segmentation.decoders.aspp import ASPP
from resnets.models.segmentation.layers import conv_norm_act


class DeepLabV3Decoder(nn.Module):
    """Arguments as of `ASPP`, and the stride of the map."""

    def __init__(
        self, in_channels: int, stride: int, channels: int, *, rates: Sequence[int], separable: bool, dropout: float
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.aspp = ASPP(in_channels, channels, rates=rates, separable=separable, dropout=dropout)
        self.conv = conv_norm_act(channels, channels, 3)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return self.conv(self.aspp(maps[-1]))
