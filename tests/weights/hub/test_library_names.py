"""The words of torchvision, timm and Keras as names of weights."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torchvision.models import ResNet18_Weights, ResNet50_Weights

import resnets
from resnets.errors import UserError
from resnets.models.resnet import ResNet
from resnets.weights.hub import library_names


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        (None, "none"), (False, "none"), ("none", "none"), ("False", "none"),
        (True, "imagenet"), ("DEFAULT", "imagenet"), ("default", "imagenet"), ("imagenet", "imagenet"),
        ("IMAGENET1K_V1", "resnet50.tv_in1k_v1"), ("imagenet1k_v2", "resnet50.tv_in1k_v2"),
        (ResNet50_Weights.DEFAULT, "resnet50.tv_in1k_v2"), (ResNet50_Weights.IMAGENET1K_V1, "resnet50.tv_in1k_v1"),
        ("resnet50.a1_in1k", "resnet50.a1_in1k"), ("runs/first", "runs/first"),
    ],
)  # fmt: skip
def test_translated_values_of_weights(word, meant):
    assert library_names.translate_weights(word, "resnet50") == meant


def test_weights_of_another_networks_enum_are_refused():
    with pytest.raises(
        UserError, match=r"ResNet18_Weights\.IMAGENET1K_V1 are of 'resnet18'; received the network 'resnet50'"
    ):
        resnets.create_model("resnet50", weights=ResNet18_Weights.DEFAULT)


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet50.a1_in1k", "hf_hub:timm/resnet50.a1_in1k"])
def test_a_url_of_the_hub_is_the_name_of_published_weights(name):
    with pytest.raises(UserError, match=r"RESNETS_OFFLINE is set and resnet50\.a1_in1k is not here"):
        resnets.create_model(name)


def test_a_name_of_timm_means_those_weights():
    for arguments in ({}, {"pretrained": True}):
        with pytest.raises(UserError, match=r"RESNETS_OFFLINE is set and resnet50\.a1_in1k is not here"):
            resnets.create_model("resnet50.a1_in1k", **arguments)
    with torch.device("meta"):
        assert isinstance(resnets.create_model("resnet50.a1_in1k", pretrained=False), ResNet)


def test_torchvision_still_has_the_enums_that_are_understood():
    assert type(torchvision.models.get_weight("ResNet50_Weights.DEFAULT")).__name__ == "ResNet50_Weights"
