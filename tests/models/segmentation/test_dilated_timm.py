"""Dilated backbones give the maps of timm's with `output_stride`, of networks that torchvision cannot dilate too, in float64.

The 2x2 averages of ResNet-50-D are put into timm's network: its own add a row and a column of zeros at the edge, and at stride 8
they join positions that the network never joins (`test_dilation.py` proves that ours are the network's). Two blocks in each
dilated stage are compared, and with RESNETS_EVERY_SIZE=1 (`make soak`) every depth.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import timm
import torch
from tests.in_soak import IN_SOAK
from timm.layers import AvgPool2dSame
from torch import nn

from resnets.models import zoo
from resnets.models.dilation import DilatedAvgPool, dilate

NAMES: list[tuple[str, str, dict[str, Any]]] = [
    ("resnet18", "resnet18", {}),
    ("resnet50d", "resnet50d", {}),
    ("se_resnet18", "seresnet18", {}),
    ("resnet50_v2", "resnetv2_50", {"stride_at": "3x3", "stem_preact": True}),
]
if IN_SOAK:
    NAMES += [(name, name, {}) for name in ("resnet34", "resnet50", "resnet101")]
    NAMES += [("se_resnet50", "seresnet50", {}), ("resnet101d", "resnet101d", {})]


@pytest.mark.parametrize(("name", "timm_name", "changes"), NAMES, ids=[row[1] for row in NAMES])
def test_every_stage_equals_timms(name: str, timm_name: str, changes: dict[str, Any], parity: Any) -> None:
    depths = zoo.find(name).spec.num_blocks if IN_SOAK else (1, 1, 2, 2)
    ours = parity.ours(name, num_classes=3, num_blocks=depths, **changes)
    tensors = list(ours.state_dict().values())
    for output_stride in (8, 16) if IN_SOAK else (8,):
        theirs = parity.blank(
            lambda: timm.create_model(
                timm_name,
                pretrained=False,
                num_classes=3,
                layers=list(depths),
                output_stride=output_stride,  # noqa: B023
            )
        )
        if name == "resnet50_v2":
            named = {_preactivation_name(key): each for key, each in ours.state_dict().items()}
            parity.fill(theirs, {**named, "head.fc.weight": named["head.fc.weight"][:, :, None, None]})
        else:  # both define their layers in the order in which they compute, the shortcut last
            parity.fill(theirs, dict(zip(theirs.state_dict(), tensors, strict=True)))
        plain = copy.deepcopy(ours).backbone()
        backbone = dilate(plain, [stage for stage, stride in plain.feature_strides.items() if stride > output_stride])
        x = torch.randn(1, 3, 49, 98, generator=torch.Generator().manual_seed(1))
        if name.endswith("d"):
            put_averages(theirs, [each for each in backbone.modules() if isinstance(each, DilatedAvgPool)])
        with torch.inference_mode():
            expected = theirs.forward_intermediates(x, intermediates_only=True, norm=True)[1:]  # without the stem's
            found = [backbone.features(x)[stage] for stage in backbone.stages]
        assert len(expected) == len(found) == 4
        for ours_map, map_ in zip(found, expected, strict=True):
            assert ours_map.shape == map_.shape
            assert (ours_map - map_).abs().max() < 1e-9 * map_.abs().max()
        assert found[-1].shape[-1] == -(-98 // output_stride)


def put_averages(theirs: nn.Module, averages: list[DilatedAvgPool]) -> None:
    """Replace timm's averages at stride 1; those of one dilation agree with ours everywhere but in the last row and column."""
    places = [(parent, key) for parent in theirs.modules() for key, each in parent.named_children() if is_average(each)]
    assert len(places) == len(averages) > 0
    for (parent, key), average in zip(places, averages, strict=True):
        x = torch.randn(1, 2, 6, 7, generator=torch.Generator().manual_seed(3))
        ours_map, map_ = average(x), getattr(parent, key)(x)
        same = (ours_map - map_).abs() < 1e-12
        assert bool(same[..., :-1, :-1].all()) is (average.rate == 1)
        setattr(parent, key, average)


def is_average(module: nn.Module) -> bool:
    return isinstance(module, AvgPool2dSame) and module.stride == (1, 1)


def _preactivation_name(key: str) -> str:
    """timm's name of a tensor of the pre-activation network."""
    key = key.replace("final.norm", "norm")
    match = re.match(r"stage(\d+)\.block(\d+)\.(.*)", key)
    if match is None:
        return key
    rest = re.sub(r"^norm\.", "norm1.", match[3].replace("branch.", "").replace("shortcut.", "downsample."))
    return f"stages.{int(match[1]) - 1}.blocks.{int(match[2]) - 1}.{rest}"
