"""Names, and the way from a name to a network."""

from __future__ import annotations

import pytest
import torch

import resnets
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.shortcuts import PooledProjection, Projection, ZeroPad

ASKED_FOR = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet50_v1", "resnet101_v1", "resnet152_v1",
    "resnet50_v2", "resnet101_v2", "resnet152_v2", "resnet200_v2", "resnet34_a", "resnet34_c", "resnet50c",
    "resnet50d", "resnet101d", "resnet152d", "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d",
    "resnext101_32x8d", "resnext101_64x4d", "se_resnet18", "se_resnet34", "se_resnet50", "se_resnet101",
    "se_resnet152", "cbam_resnet18", "cbam_resnet34", "cbam_resnet50", "cbam_resnet101", "plain18", "plain34",
    "keras_resnet50", "keras_resnet101", "keras_resnet152", "keras_resnet50v2", "keras_resnet101v2",
    "keras_resnet152v2", "cifar_resnet20", "cifar_resnet32", "cifar_resnet44", "cifar_resnet56", "cifar_resnet110",
    "cifar_resnet1202", "cifar_plain20", "cifar_plain32", "cifar_plain44", "cifar_plain56", "cifar_plain110",
    "cifar_preresnet110", "cifar_preresnet164", "cifar_preresnet1001", "cifar_highway20", "cifar_highway32",
    "cifar_highway56", "cifar_highway110", "wrn_16_8", "wrn_28_10", "wrn_40_4", "cifar_fast", "tutorial_resnet50",
    "notes_resnet50", "notes_basic_resnet", "tiny",
]  # fmt: skip


def test_every_network_is_there():
    assert zoo.list_models() == sorted(ASKED_FOR, key=zoo.list_models().index)
    assert len(zoo.list_models()) == len(ASKED_FOR) == 66


def test_patterns():
    assert zoo.list_models("wrn_*") == ["wrn_16_8", "wrn_28_10", "wrn_40_4"]
    assert zoo.list_models("preres") == ["cifar_preresnet110", "cifar_preresnet164", "cifar_preresnet1001"]
    assert zoo.list_models("ResNeXt") == ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"]
    assert zoo.list_models("nothing") == []


@pytest.mark.parametrize(("typed", "meant"), [("resnet5O", "resnet50"), ("RESNET50", "resnet50"), ("se_resent50", "se_resnet50"),
                                              ("wrn_28_1", "wrn_28_10")])  # fmt: skip
def test_a_typing_error_gets_a_suggestion(typed, meant):
    with pytest.raises(UserError, match=f"no network '{typed}'. Did you mean '{meant}'"):
        zoo.build(typed)


def test_an_unknown_name_without_a_suggestion_refers_to_the_list():
    with pytest.raises(UserError, match="`resnets models` lists them"):
        zoo.find("vgg")


def test_an_unknown_override_gets_a_suggestion():
    with pytest.raises(
        UserError, match=r"no setting 'shorcut'. Did you mean 'shortcut'\? It has: num_classes, in_channels"
    ):
        zoo.build("resnet18", shorcut="A")


def test_classes_and_channels():
    net = resnets.create_model("cifar_resnet20", num_classes=7, in_channels=1)
    assert net(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    spec = resnets.get_spec("resnet18", num_classes=7, in_channels=5)
    assert (spec.name, spec.num_classes, spec.in_channels) == ("resnet18", 7, 5)
    assert zoo.get_spec("resnet18").num_classes == 1000
    assert zoo.get_spec("cifar_resnet20").num_classes == 10


@pytest.mark.parametrize(("option", "kind", "count"), [("A", ZeroPad, 2), ("B", Projection, 2), ("C", Projection, 9),
                                                       ("D", PooledProjection, 2)])  # fmt: skip
def test_every_option_on_request(option, kind, count):
    net = zoo.build("cifar_resnet20", shortcut=option)
    assert sum(isinstance(module, kind) for module in net.modules()) == count


def test_option_b_adds_2752_parameters_on_cifar():
    for name in ("cifar_resnet20", "cifar_resnet110"):
        more = sum(parameter.numel() for parameter in zoo.build(name, shortcut="B").parameters())
        assert more - zoo.find(name).parameters == 2752


def test_stem_and_pool_on_request():
    net = zoo.build("resnet18", stem="cifar", pool="max").eval()
    x = torch.randn(1, 3, 32, 32)
    assert net.feature_strides["stage4"] == 8
    with torch.no_grad():
        assert torch.equal(net.forward_pooled(x), net.features(x)["stage4"].amax((2, 3)))


def test_dropout_on_request():
    net = zoo.build("wrn_16_8", dropout=0.3)
    rates = {module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.3}
    assert not any(isinstance(module, torch.nn.Dropout) for module in zoo.build("wrn_16_8").modules())


def test_gate_biases_of_highways_follow_their_depth():
    biases = {20: -2.0, 32: -3.0, 56: -6.0, 110: -6.0}
    assert {depth: zoo.get_spec(f"cifar_highway{depth}").gate_bias for depth in biases} == biases


def test_published_errors_carry_their_protocol():
    for name, entry in zoo.entries().items():
        assert entry.paper, name
        assert not entry.error or "," in entry.error, name
    assert zoo.find("cifar_resnet110").error.startswith("6.61")  # the mean, not the best of five
    assert zoo.find("resnet50_v1").error == "22.85 top-1, 6.71 top-5, 10-crop"


@pytest.mark.parametrize("given", [50, None, print])
def test_a_name_that_is_not_a_string_is_refused(given: object) -> None:
    with pytest.raises(UserError, match="is a string such as"):
        zoo.find(given)  # type: ignore[arg-type]
