"""The names of the segmenters, and every network of the zoo as the backbone of each."""

from __future__ import annotations

import pytest
import torch

import resnets
from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.segmentation import zoo
from resnets.models.segmentation.prefixes import DESCRIPTIONS, PREFIXES
from resnets.models.segmentation.segmenter import Segmenter


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unet_resnet19", "There is no segmenter 'unet_resnet19'. Did you mean 'unet_resnet1"),
        ("deeplabv3plus_ResNet-50", "Did you mean 'deeplabv3plus_resnet50'"),
        ("deeplabv3+_resnet50", "Did you mean 'deeplabv3plus_resnet50'"),
        ("u-net_resnet18", "Did you mean 'unet_resnet18'"),
        ("unet_vgg16", "`resnets models unet_` lists them all"),
    ],
)
def test_an_unknown_name_is_refused(name: str, message: str) -> None:
    for find in (zoo.get, resnets.create_model):
        with pytest.raises(UserError, match=message.replace("+", r"\+")):
            find(name)


def test_names_and_patterns() -> None:
    names = zoo.list_models()
    assert len(names) == len(set(names)) == len(PREFIXES) * len(networks.entries())
    assert resnets.list_models("unet") == resnets.list_models("unet_*") == zoo.list_models("unet_*")
    assert all(zoo.is_segmenter(name) for name in names)
    assert not zoo.is_segmenter("resnet50")
    assert zoo.backbone_name("deeplabv3plus_resnet50") == zoo.backbone_name("resnet50") == "resnet50"
    assert list(DESCRIPTIONS) == list(PREFIXES)
    with pytest.raises(UserError, match=r"'unet_resnet18' is the name of a segmenter.* create_model\(\)"):
        resnets.get_spec("unet_resnet18")


def test_create_model_takes_the_settings_of_segmenter_and_network() -> None:
    model = resnets.create_model("fcn_tiny", num_classes=4, in_channels=1, output_stride=4, aux=True, stem_channels=8)
    assert isinstance(model, Segmenter)
    assert (model.stride, model.num_classes, model.training) == (4, 4, True)
    assert [tuple(each.shape) for each in model(torch.zeros(2, 1, 31, 47))] == [(2, 4, 31, 47)] * 2
    with pytest.raises(UserError, match=r"no setting 'rates'"):
        resnets.create_model("fcn_tiny", rates=(1, 2, 3))
    with pytest.raises(UserError, match="'fcn_tiny' is a segmenter, on which"):
        resnets.create_model("fcn_tiny", num_classes=0)
