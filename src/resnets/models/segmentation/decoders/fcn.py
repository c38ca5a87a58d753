"""FCN's decoder as torchvision has it: one 3x3 convolution to a quarter of the channels (Long et al. 2015)."""

from collections.abc import Sequence

from torch import Tensor, nn

from resnets.models.segmentation.layers import conv_norm_act


class FCNDecoder(nn.Module):
    """One 3x3 convolution of the last map.

    Args:
        in_channels: of the map.
        stride: of the map.
        dropout: probability of each value.
    """

    def __init__(self, in_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.channels = in_channels // 4
        self.stride = stride
        self.conv = conv_norm_act(in_channels, self.channels, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return self.dropout(self.conv(maps[-1]))
