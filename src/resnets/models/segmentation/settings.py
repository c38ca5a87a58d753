"""SegmenterSettings: what a segmenter has beside its backbone, as a flat value that TOML and JSON can hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from resnets import check_settings

# The values of each field that is a word.
CHOICES: dict[str, tuple[str, ...]] = {
    "architecture": ("light", "fcn", "deeplabv3", "deeplabv3plus", "pspnet", "unet", "upernet"),
    "dilation": ("same_function", "all"),
}
_AT_LEAST_0 = ("output_stride", "num_stages")
_DEEPLAB = ("deeplabv3", "deeplabv3plus")
# The architectures on which a setting has an effect; others have one on all.
_ONLY_ON: dict[str, tuple[str, ...]] = {
    "decoder_channels": ("light", *_DEEPLAB, "pspnet", "upernet"),
    "unet_channels": ("unet",),
    "atrous_rates": _DEEPLAB,
    "separable": _DEEPLAB,
    "pool_norm": ("pspnet",),
    "map_norm": ("upernet",),
    "align_corners": ("fcn", *_DEEPLAB, "pspnet", "upernet"),
}


@dataclass(frozen=True)
class SegmenterSettings:
    """Everything that defines a segmenter beside its backbone and its classes.

    Attributes:
        architecture: "light" (a narrow feature pyramid, after Lin et al. 2017), "fcn" (Long et al. 2015, as torchvision has it),
            "deeplabv3" (Chen et al. 2017), "deeplabv3plus" (Chen et al. 2018), "pspnet" (Zhao et al. 2017), "unet" (Ronneberger
            et al. 2015) or "upernet" (Xiao et al. 2018).
        output_stride: the largest stride of the backbone's last map, a power of two; strides beyond it become dilation. 0 keeps
            those of the network.
        num_stages: how many stages of the backbone are used; 0 for all. Others keep their weights and compute nothing.
        decoder_channels: of the decoder's layers. For "light" at most as many as the last map of the backbone has; "fcn" has a
            quarter of those, and "unet" has `unet_channels`.
        unet_channels: of the blocks that end at stride 16, 8, 4, 2 and 1. Blocks of larger strides have as many as the first.
        atrous_rates: dilation of the three parallel 3x3 convolutions of DeepLab, at the stride of the last map.
        separable: whether these are divided into a convolution of each channel and a 1x1.
        aux: whether a second head, on the map of the last stage but one, is trained as well.
        dropout: probability that a feature of the decoder's map is dropped in training.
        dilation: "same_function" leaves the maps of the network as they were, at more positions. "all" dilates the convolutions
            that had a stride, too, as segmentation_models_pytorch does, which changes what a trained network computes.
        align_corners: whether a map is upsampled so that the centers of its corner pixels stay at the corners, as in
            segmentation_models_pytorch; torchvision aligns the edges.
        pool_norm: whether the average over the whole map of "pspnet" is normalized, as the authors do; a batch of one image
            has no statistics for it. segmentation_models_pytorch does not.
        map_norm: whether "upernet" normalizes the channels at each position of the backbone's maps, as in
            segmentation_models_pytorch.
    """

    architecture: str = "light"
    output_stride: int = 0
    num_stages: int = 0
    decoder_channels: int = 128
    unet_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    atrous_rates: tuple[int, ...] = (12, 24, 36)
    separable: bool = False
    aux: bool = False
    dropout: float = 0.0
    dilation: str = "same_function"
    align_corners: bool = False
    pool_norm: bool = True
    map_norm: bool = False

    def __post_init__(self) -> None:
        self.check_values()
        self.check_together()

    def check_values(self) -> None:
        """Make tuples of lists, and raise UserError for a value of another type or range."""
        # Other fields are those of a task.
        check_settings.check_values(self, _DEFAULTS, CHOICES, at_least_0=_AT_LEAST_0, less_than_1=("dropout",))

    def check_together(self) -> None:
        """Raise UserError for values that do not fit each other, or have no effect: such a setting has its default."""
        check_settings.check_effects(self, _DEFAULTS, self.without_effect, f"architecture='{self.architecture}'")
        rules = (
            (self.output_stride & (self.output_stride - 1) != 0,
             f"output_stride is a power of two; received {self.output_stride}"),
            (self.dilation == "all" and not self.output_stride,
             "dilation='all' has no effect without output_stride; leave it out, or give output_stride=8 or 16"),
            (self.num_stages > 0 and self.output_stride > 0,
             "num_stages and output_stride are two ways to a last map of a smaller stride; leave one of them out"),
            (self.num_stages == 1 and self.aux, "aux=True needs a stage before the last; received num_stages=1"),
            (len(self.atrous_rates) != 3, f"atrous_rates are three numbers; received {self.atrous_rates}"),
            (len(self.unet_channels) != 5, f"unet_channels are five numbers; received {self.unet_channels}"),
        )  # fmt: skip
        check_settings.check_rules(rules)

    @property
    def without_effect(self) -> tuple[str, ...]:
        """The settings that the segmenter does not use."""
        return tuple(key for key, architectures in _ONLY_ON.items() if self.architecture not in architectures)


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(SegmenterSettings)}
