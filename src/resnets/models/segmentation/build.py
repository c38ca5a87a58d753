"""The segmenter of its settings and its backbone's specification."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from resnets.errors import UserError
from resnets.models import initialization
from resnets.models.backbone import Backbone
from resnets.models.build_network import build
from resnets.models.dilation import with_output_stride
from resnets.models.levels import Levels, lacks_activation, norm_act
from resnets.models.segmentation.decoders.deeplabv3 import DeepLabV3Decoder
from resnets.models.segmentation.decoders.deeplabv3plus import DeepLabV3PlusDecoder
from resnets.models.segmentation.decoders.fcn import FCNDecoder
from resnets.models.segmentation.decoders.light import LightDecoder
from resnets.models.segmentation.decoders.pspnet import PSPDecoder
from resnets.models.segmentation.decoders.unet import UNetDecoder
from resnets.models.segmentation.decoders.upernet import UPerDecoder
from resnets.models.segmentation.layers import conv_norm_act
from resnets.models.segmentation.segmenter import Segmenter
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.models.spec import ResNetSpec

FINEST = 4  # the least stride of the maps that decoders other than U-Net's take
AUX_DROPOUT = 0.1  # torchvision
HEAD_KERNEL = {"pspnet": 3, "unet": 3}  # segmentation_models_pytorch; a 1x1 convolution for all others


def build_segmenter(settings: SegmenterSettings, backbone: ResNetSpec, num_classes: int) -> Segmenter:
    """A freshly initialized segmenter; on the meta device it has shapes only.

    Args:
        settings: of dilation, decoder and heads.
        backbone: the network; its classification head is not part of the segmenter.
        num_classes: number of classes of a pixel, the background included if there is one.

    Raises:
        UserError: the settings do not fit the backbone.
    """
    network = build(backbone).backbone()
    stages = list(network.stages)
    if settings.num_stages > len(stages):
        raise UserError(f"num_stages={settings.num_stages}: '{backbone.name}' has {len(stages)} stages.")
    used = stages[: settings.num_stages or None]
    finest = min(FINEST, max(1, network.feature_strides[used[-1]] // 4))
    if settings.output_stride:
        network = with_output_stride(network, settings.output_stride, first_too=settings.dilation == "all")
    levels = Levels(network, _strides(settings, network, used[-1], finest))
    decoder = _decoder(settings, levels)
    kernel_size = HEAD_KERNEL.get(settings.architecture, 1)
    head = nn.Conv2d(decoder.channels, num_classes, kernel_size, padding=kernel_size // 2)  # type: ignore[arg-type]
    aux_map = used[-2] if settings.aux else None
    aux_head = _aux_head(network, aux_map, num_classes) if aux_map else None
    if not head.weight.is_meta:  # on the meta device normal_ would import torch's compiler; see build_network.py
        initialization.kaiming_(decoder)
        heads = [head]
        if aux_head is not None:
            initialization.kaiming_(aux_head)
            heads.append(aux_head.fc)  # type: ignore[arg-type]
        # Nearly equal rows of small weights would all be moved alike by Adam, and then all channels below them: classes collapse.
        for each in heads:
            nn.init.kaiming_normal_(each.weight, nonlinearity="linear")
            nn.init.zeros_(each.bias)  # type: ignore[arg-type]
    return Segmenter(network, levels, decoder, head, aux_head, aux_map, settings)


def _strides(settings: SegmenterSettings, network: Backbone, last_stage: str, finest: int) -> list[int]:
    """Of the maps that the decoder takes."""
    last = network.feature_strides[last_stage]
    finest = min(finest, last)
    if settings.architecture in ("fcn", "deeplabv3", "pspnet"):
        return [last]
    if settings.architecture == "deeplabv3plus":
        return sorted({finest, last})
    least = 1 if settings.architecture == "unet" else finest
    return sorted({stride for stride in network.feature_strides.values() if least <= stride <= last})


def _decoder(settings: SegmenterSettings, levels: Levels) -> nn.Module:
    channels, strides, width = levels.channels, levels.strides, settings.decoder_channels
    if settings.architecture == "light":
        return LightDecoder(channels, strides[0], width, settings.dropout)
    if settings.architecture == "fcn":
        return FCNDecoder(channels[-1], strides[-1], settings.dropout)
    if settings.architecture == "unet":
        return UNetDecoder(channels, strides, settings.unet_channels, settings.dropout)
    if settings.architecture == "pspnet":
        return PSPDecoder(
            channels[-1], strides[-1], width,
            pool_norm=settings.pool_norm, align_corners=settings.align_corners, dropout=settings.dropout,
        )  # fmt: skip
    if settings.architecture == "upernet":
        return UPerDecoder(channels, strides[0], width, map_norm=settings.map_norm, dropout=settings.dropout)
    rates, separable, dropout = settings.atrous_rates, settings.separable, settings.dropout
    if settings.architecture == "deeplabv3":
        return DeepLabV3Decoder(channels[-1], strides[-1], width, rates=rates, separable=separable, dropout=dropout)
    return DeepLabV3PlusDecoder(
        channels, strides[0], width,
        rates=rates, separable=separable, dropout=dropout, align_corners=settings.align_corners,
    )  # fmt: skip


def _aux_head(network: Backbone, name: str, num_classes: int) -> nn.Sequential:
    """From the map of that name to logits, by the layers of an FCN."""
    channels = network.feature_channels[name]
    layers = (
        OrderedDict[str, nn.Module](activation=norm_act(channels)) if lacks_activation(network, name) else OrderedDict()
    )
    layers["conv"] = conv_norm_act(channels, channels // 4, 3)
    layers["dropout"] = nn.Dropout(AUX_DROPOUT)
    layers["fc"] = nn.Conv2d(channels // 4, num_classes, 1)
    return nn.Sequential(layers)
