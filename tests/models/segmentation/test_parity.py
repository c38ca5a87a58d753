"""The same weights give the same logits here and in torchvision and segmentation_models_pytorch, in float64.

ResNet-18 is compared with the latter, and with RESNETS_EVERY_SIZE=1 (`make soak`) every depth. Whatever settings their files do
not show is listed in `OTHERS`: with another value the logits differ, or the tensors do not fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import Tensor, nn
from torchvision.models import segmentation as torchvision_models
from torchvision.models.segmentation import deeplabv3

from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.decoders.aspp import ASPP
from resnets.models.segmentation.layers import resize
from resnets.models.segmentation.segmenter import Segmenter
from resnets.weights.segmentation import smp, torchvision
from resnets.weights.segmentation.library_segmenter import LibrarySegmenter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its other dependencies
    import segmentation_models_pytorch as smp_models

SIZES = ((65, 65), (96, 128), (97, 70)) if IN_SOAK else ((65, 65), (33, 70))
DIVISIBLE = ((64, 96), (96, 128))  # by the stride, as segmentation_models_pytorch requires
TORCHVISION = ["fcn_resnet50", "deeplabv3_resnet50"]
SMP = [(architecture, "resnet18") for architecture in smp.CLASSES]
if IN_SOAK:
    TORCHVISION += ["fcn_resnet101", "deeplabv3_resnet101"]
    SMP += [(architecture, network) for architecture in smp.CLASSES for network in ("resnet34", "resnet50")]


def of_torchvision(name: str, *, aux: bool = False) -> Any:
    return getattr(torchvision_models, name)(weights=None, weights_backbone=None, num_classes=4, aux_loss=aux)


def of_smp(architecture: str, network: str, **arguments: Any) -> Any:
    # smp initializes with torch.nn.init, which is slow on the meta device; the values are replaced.
    return getattr(smp_models, smp.CLASSES[architecture])(network, encoder_weights=None, classes=4, **arguments)


def pair(parity: Any, library: ModuleType, make: Callable[[], nn.Module]) -> tuple[Segmenter, Any, LibrarySegmenter]:
    """Ours of the library's tensors, and theirs with the same tensors, whose names are mapped strictly."""
    theirs = parity.blank(make)
    found = library.find(theirs.state_dict())
    ours = parity.randomized(parity.blank(lambda: build_segmenter(found.settings, found.spec, found.num_classes)))
    parity.fill(theirs, found.keymap.from_resnets(ours.state_dict()))
    back = found.keymap.to_resnets(theirs.state_dict())
    assert all(torch.equal(tensor, back[key]) for key, tensor in ours.state_dict().items())
    return ours, theirs, found


@pytest.mark.parametrize("aux", [True, False] if IN_SOAK else [True])
@pytest.mark.parametrize("name", TORCHVISION)
def test_logits_equal_torchvisions(name: str, aux: bool, parity: Any) -> None:
    ours, theirs, _ = pair(parity, torchvision, lambda: of_torchvision(name, aux=aux))
    assert (ours.aux_head is not None) is aux
    parity.agree(ours, lambda x: theirs(x)["out"], SIZES)
    if not aux:
        return

    def both(x: Tensor) -> Tensor:
        return torch.cat([resize(each, x.shape[-2:]) for each in ours.dense_of_both_heads(x)], 1)

    parity.agree(both, lambda x: torch.cat([theirs(x)["out"], theirs(x)["aux"]], 1), SIZES[-1:])


@pytest.mark.parametrize(("architecture", "network"), SMP)
def test_logits_equal_smps(architecture: str, network: str, parity: Any) -> None:
    ours, theirs, found = pair(parity, smp, lambda: of_smp(architecture, network))
    parity.agree(ours, theirs, DIVISIBLE)
    arguments = smp.constructor(found.settings, found.spec)
    again = parity.blank(lambda: getattr(smp_models, smp.CLASSES[architecture])(**arguments, classes=4))
    parity.fill(again, theirs.state_dict())
    parity.agree(ours, again, DIVISIBLE[:1])


@pytest.mark.parametrize(
    ("architecture", "arguments", "settings"),
    [
        ("deeplabv3plus", {"encoder_output_stride": 8}, {"output_stride": 8}),
        ("deeplabv3plus", {"decoder_aspp_separable": False}, {}),
        ("deeplabv3", {"encoder_output_stride": 16, "decoder_aspp_separable": True}, {"output_stride": 16}),
        ("deeplabv3", {"decoder_atrous_rates": (1, 3, 5), "decoder_channels": 32}, {"atrous_rates": (1, 3, 5)}),
        ("pspnet", {"encoder_depth": 5, "upsampling": 32, "psp_out_channels": 64}, {}),
        ("unet", {"decoder_channels": (32, 16, 8, 8, 4), "in_channels": 3}, {}),
    ],
)
def test_other_arguments_of_smp(
    architecture: str, arguments: dict[str, Any], settings: dict[str, Any], parity: Any
) -> None:
    """Those that the tensors show are found; the others are given."""
    theirs = parity.blank(lambda: of_smp(architecture, "resnet18", **arguments))
    found = smp.find(theirs.state_dict()).with_settings(settings)
    ours = parity.randomized(parity.blank(lambda: build_segmenter(found.settings, found.spec, 4)))
    parity.fill(theirs, found.keymap.from_resnets(ours.state_dict()))
    parity.agree(ours, theirs, DIVISIBLE[1:])
    known = smp.constructor(found.settings, found.spec)
    assert {key: known[key] for key in arguments} == arguments


TENSORS = {"separable", "pool_norm", "num_stages", "map_norm", "unet_channels"}  # settings that the tensors show
# What is another function with tensors of the same shapes, or has tensors of its own. The rates are compared below, since at
# these sizes only the middle of a 3x3 of so large a dilation lies on the map.
OTHERS: list[tuple[ModuleType, str, dict[str, Any], dict[str, Any]]] = [
    (torchvision, "fcn_resnet50", {"align_corners": True}, {}),
    (torchvision, "fcn_resnet50", {"dilation": "all"}, {}),
    (torchvision, "fcn_resnet50", {"output_stride": 16}, {}),
    (torchvision, "fcn_resnet50", {}, {"stride_at": "1x1"}),
    (torchvision, "fcn_resnet50", {}, {"norm_eps": 1e-3}),
    (torchvision, "deeplabv3_resnet50", {"align_corners": True}, {}),
    (torchvision, "deeplabv3_resnet50", {"dilation": "all"}, {}),
    (torchvision, "deeplabv3_resnet50", {"separable": True}, {}),
    (smp, "unet", {"unet_channels": (256, 128, 64, 32, 8)}, {}),
    (smp, "pspnet", {"align_corners": False}, {}),
    (smp, "pspnet", {"pool_norm": True}, {}),
    (smp, "pspnet", {"num_stages": 0}, {}),
    (smp, "deeplabv3", {"dilation": "same_function"}, {}),
    (smp, "deeplabv3", {"align_corners": False}, {}),
    (smp, "deeplabv3", {"output_stride": 16}, {}),
    (smp, "deeplabv3plus", {"dilation": "same_function"}, {}),
    (smp, "deeplabv3plus", {"align_corners": False}, {}),
    (smp, "deeplabv3plus", {"output_stride": 8}, {}),
    (smp, "deeplabv3plus", {"separable": False}, {}),
    (smp, "upernet", {"align_corners": False}, {}),
    (smp, "upernet", {"map_norm": False}, {}),
]


@cache
def found_in(library: ModuleType, name: str) -> LibrarySegmenter:
    with torch.device("meta"):
        theirs = of_torchvision(name) if library is torchvision else of_smp(name, "resnet18")
    return library.find(theirs.state_dict())


@pytest.mark.parametrize(("library", "name", "settings", "spec"), OTHERS)
def test_with_another_setting_the_logits_differ(
    library: ModuleType, name: str, settings: dict[str, Any], spec: dict[str, Any], parity: Any
) -> None:
    """So the tests above fail if it is swapped; on a narrow network, with weights that both take."""
    found = found_in(library, name)
    narrow = {"stem_channels": 8, "out_channels": (8, 8, 12, 16), "num_blocks": (1, 1, 2, 2)}
    if found.spec.mid_channels:
        narrow["mid_channels"] = (4, 4, 4, 4)
    narrow_spec = replace(found.spec, **narrow)
    ours = parity.randomized(parity.blank(lambda: build_segmenter(found.settings, narrow_spec, 4)))
    other = parity.blank(lambda: build_segmenter(replace(found.settings, **settings), replace(narrow_spec, **spec), 4))
    if settings.keys() & TENSORS:
        with pytest.raises(RuntimeError, match="state_dict"):
            parity.fill(other, ours.state_dict())
        return
    parity.fill(other, ours.state_dict())
    x = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found_logits = ours(x), other(x)
    assert (found_logits - expected).abs().max() > 1e-3 * expected.abs().max()


@pytest.mark.parametrize("rates", [(12, 24, 36), (6, 12, 18), (12, 36, 24), (12, 24, 24)])
def test_the_rates_of_aspp_are_torchvisions(rates: tuple[int, ...], parity: Any) -> None:
    """On a map that is larger than the largest dilation; other rates, or another order of them, differ."""
    theirs = deeplabv3.ASPP(4, [12, 24, 36], 6).eval()
    ours = parity.randomized(ASPP(4, 6, rates=rates, separable=False, dropout=0.5)).eval()
    parity.fill(theirs, dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(1, 4, 41, 45, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        difference = (ours(x) - theirs(x)).abs().max()
    assert (difference < 1e-9) if rates == (12, 24, 36) else (difference > 1e-3)
