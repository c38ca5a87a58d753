"""SegmenterSettings refuse what does not fit."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import pytest
import torch

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.prefixes import PREFIXES
from resnets.models.segmentation.settings import SegmenterSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "u-net"}, "Did you mean 'unet'"),
        ({"architecture": "unet", "align_corners": True}, "align_corners has no effect on architecture='unet'"),
        ({"architecture": "fcn", "decoder_channels": 64}, "decoder_channels has no effect"),
        ({"unet_channels": (8,) * 5}, "unet_channels has no effect on architecture='light'"),
        ({"architecture": "unet", "unet_channels": (8, 8)}, "five numbers"),
        ({"architecture": "fcn", "atrous_rates": (1, 2, 3)}, "atrous_rates has no effect"),
        ({"architecture": "deeplabv3", "atrous_rates": (1, 2)}, "three numbers"),
        ({"architecture": "deeplabv3", "atrous_rates": (1, 2, 0)}, "positive"),
        ({"architecture": "upernet", "pool_norm": False}, "pool_norm has no effect"),
        ({"architecture": "pspnet", "map_norm": True}, "map_norm has no effect"),
        ({"output_stride": 12}, "power of two; received 12"),
        ({"output_stride": -8}, "at least 0"),
        ({"output_stride": 8, "num_stages": 2}, "leave one of them out"),
        ({"dilation": "all"}, "without output_stride"),
        ({"dilation": "full", "output_stride": 8}, "dilation is one of same_function, all"),
        ({"num_stages": 1, "aux": True}, "a stage before the last"),
        ({"decoder_channels": 2.5}, "whole number"),
        ({"dropout": 1.0}, "less than 1"),
        ({"aux": 1}, "of type bool"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SegmenterSettings(**changes)


def test_what_does_not_fit_the_backbone_is_refused() -> None:
    for settings, message in (
        (SegmenterSettings(output_stride=2), r"can have a stride of \[4, 8, 16, 32\]; received output_stride=2"),
        (SegmenterSettings(num_stages=5), "'resnet18' has 4 stages"),
    ):
        with torch.device("meta"), pytest.raises(UserError, match=message):
            build_segmenter(settings, zoo.get_spec("resnet18"), 2)


# Of each setting that some architectures do not use: a value that changes the network, as its layers or their attributes tell.
VALUES = {"decoder_channels": 16, "unet_channels": (8, 8, 8, 8, 8), "atrous_rates": (1, 2, 3), "map_norm": True}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_effect_of_each_setting_is_as_the_check_says(prefix: str) -> None:
    def described(settings: SegmenterSettings) -> str:
        with torch.device("meta"):
            return str(build_segmenter(settings, zoo.get_spec("tiny"), 2))

    settings = PREFIXES[prefix]
    values = VALUES | {"separable": not settings.separable, "pool_norm": not settings.pool_norm}
    for key, value in values.items():
        changed = dataclasses.replace(settings)
        object.__setattr__(changed, key, value)  # unchecked
        has_effect = described(settings) != described(changed)
        assert has_effect is (key not in settings.without_effect), key


def test_lists_become_tuples_and_every_field_is_described() -> None:
    settings = SegmenterSettings(**tomllib.loads("architecture = 'deeplabv3'\natrous_rates = [1, 2, 3]"))
    assert settings.atrous_rates == (1, 2, 3)
    for field in dataclasses.fields(SegmenterSettings):
        assert f"{field.name}: " in (SegmenterSettings.__doc__ or ""), field.name
