"""Arguments of torchvision, timm and Keras in `create_model`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import resnets
from resnets.errors import UserError
from resnets.models.resnet import ResNet
from resnets.weights import model_arguments


@pytest.mark.parametrize(
    "arguments", [{}, {"weights": None}, {"pretrained": False}, {"weights": "none", "progress": False}]
)
def test_a_network_without_weights(arguments):
    assert resnets.create_model("tiny", num_classes=7, in_chans=1, **arguments)(torch.rand(1, 1, 32, 32)).shape == (
        1,
        7,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weights": "ResNet50_Weights.DEFAULT"}, "are of 'resnet50'; received the network 'resnet18'"),
        ({"weights": "IMAGENET1K_V9"}, "no IMAGENET1K_V9 for 'resnet18'; there are resnet18.tv_in1k_v1\\.$"),
        ({"weights": "resnet50.a1_in1k"}, "of resnet50; received 'resnet18'"),  # before anything is downloaded
        ({"weights": "https://example.invalid/a.pth"}, "download the file"),
        ({"weights": "imagenet21k"}, "`resnets weights list`"),
        ({"weights": 7}, "`weights` is a name, a path, True or None; received 7"),
        ({"classes": 6}, "`classes` is called `num_classes` here"),
        ({"in_chans": 1, "in_channels": 4}, "`in_channels` was given twice"),
        ({"nb_classes": 5}, "`nb_classes` is called `num_classes` here"),
        ({"img_size": 64}, "`img_size` is called `imgsz` here"),
        ({"global_pool": ""}, "no argument `global_pool`: `include_top=False`"),
        ({"drop_rate": 0.1}, "no argument `drop_rate`: .*nn.Dropout"),
        ({"device": "cuda"}, r"call `\.to\(device\)`"),
        ({"checkpoint_path": "a.pth"}, "`weights` takes a checkpoint"),
    ],
)
def test_arguments_of_other_libraries_are_answered_with_ours(arguments, said):
    with pytest.raises(UserError, match=said):
        resnets.create_model("resnet18", **arguments)


def test_values_without_effect_are_ignored():
    net = resnets.create_model(
        "tiny", global_pool="avg", drop_rate=0.0, norm_layer=None, scriptable=True, weights="random"
    )
    assert isinstance(net, ResNet)


def test_no_classes_are_pooled_vectors():
    net = resnets.create_model("tiny", num_classes=0)
    assert not isinstance(net, ResNet)
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 48)


def test_arguments_without_a_counterpart_name_the_alternative():
    with pytest.raises(UserError, match=r"net\.features\(x\)"):
        resnets.create_model("tiny", features_only=True)
    with pytest.raises(UserError, match="`in_chans` is called `in_channels` here"):
        model_arguments.translate({"in_chans": 3, "in_channels": 3})
    with pytest.raises(UserError, match="`pretrained` and `weights`"):
        resnets.create_model("tiny", pretrained=True, weights="imagenet")


@pytest.mark.parametrize(
    "asked",
    [{"norm_layer": nn.BatchNorm2d}, {"act_layer": nn.ReLU}, {"act_layer": "relu"}, {"output_stride": 32},
     {"replace_stride_with_dilation": [False] * 3}, {"replace_stride_with_dilation": (False, False, False)},
     {"classifier_activation": "linear"}, {"device": "cpu"}, {"device": torch.device("cpu")}, {"dtype": torch.float32},
     {"width_per_group": 64}, {"drop_rate": 0}],
    ids=str,
)  # fmt: skip
def test_values_that_the_network_has_anyway_are_accepted(asked):
    assert model_arguments.translate(asked, "resnet18") == {}


def test_the_width_of_a_group_is_that_of_the_network():
    for model, width in (("resnet50", 64), ("wide_resnet50_2", 128), ("resnext50_32x4d", 4), ("resnet50.a1_in1k", 64)):
        assert model_arguments.translate({"width_per_group": width}, model) == {}
        with pytest.raises(UserError, match="`mid_channels`"):
            model_arguments.translate({"width_per_group": 65}, model)


@pytest.mark.parametrize(
    "asked",
    [{"norm_layer": nn.GroupNorm}, {"act_layer": "gelu"}, {"output_stride": 16}, {"dtype": torch.float16},
     {"replace_stride_with_dilation": [False, True, True]}, {"classifier_activation": "softmax"}],
    ids=str,
)  # fmt: skip
def test_what_a_network_does_not_have_is_refused(asked):
    with pytest.raises(UserError, match=f"no argument `{next(iter(asked))}`"):
        model_arguments.translate(asked, "resnet18")
