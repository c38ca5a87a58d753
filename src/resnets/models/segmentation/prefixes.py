"""What the names of segmenters begin with: the settings of each."""

from __future__ import annotations

from collections.abc import Iterable

from resnets.models.segmentation.settings import SegmenterSettings

PREFIXES = {
    "light_": SegmenterSettings(),
    "fcn_": SegmenterSettings("fcn", output_stride=8, dropout=0.1),
    "deeplabv3_": SegmenterSettings("deeplabv3", output_stride=8, decoder_channels=256, dropout=0.5),
    # Chen et al. 2018, section 4: half the rates at twice the stride.
    "deeplabv3plus_": SegmenterSettings(
        "deeplabv3plus", output_stride=16, decoder_channels=256, atrous_rates=(6, 12, 18), separable=True, dropout=0.5
    ),
    "pspnet_": SegmenterSettings("pspnet", output_stride=8, decoder_channels=512, dropout=0.1),
    "unet_": SegmenterSettings("unet"),
    "upernet_": SegmenterSettings("upernet", decoder_channels=256, dropout=0.1),
}
# What each prefix is; `settings.py` names the papers.
DESCRIPTIONS = {
    "light_": "top-down decoder to a quarter of the image's size; quick, and the default",
    "fcn_": "FCN on a map of stride 8, by dilation",
    "deeplabv3_": "DeepLabV3: parallel dilated convolutions on a map of stride 8",
    "deeplabv3plus_": "DeepLabV3+: these on a map of stride 16, and a decoder with a map of stride 4",
    "pspnet_": "PSPNet: averages over parts of a map of stride 8",
    "unet_": "U-Net: joined with every map up to the image's size",
    "upernet_": "UPerNet: a feature pyramid above PSPNet's averages",
}


def prefix_of(name: str) -> str | None:
    """The key of `PREFIXES` that a name begins with."""
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)


def names(networks: Iterable[str]) -> list[str]:
    """The names of all segmenters on these networks."""
    networks = list(networks)
    return [f"{prefix}{name}" for prefix in PREFIXES for name in networks]
