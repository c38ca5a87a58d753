"""The specification: a value that JSON can carry, that refuses nonsense, and that a network is built from."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.blocks import Block, PlainBlock
from resnets.models.spec import ResNetSpec, build


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_specification_survives_json(name):
    spec = zoo.find(name).spec
    again = ResNetSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)


def test_an_unknown_setting_is_named_with_the_nearest_known_one():
    values = zoo.get_spec("tiny").to_dict()
    with pytest.raises(UserError, match=r"'out_chanels'.*'out_channels'"):
        ResNetSpec.from_dict({**values, "out_chanels": [1]})
    del values["name"]
    with pytest.raises(UserError, match="name"):
        ResNetSpec.from_dict(values)


WRONG = [
    ("tiny", {"num_classes": 0}, "num_classes is at least 1; received 0"),
    ("tiny", {"num_classes": 2.5}, "num_classes is of type int; received 2.5"),
    ("tiny", {"num_classes": True}, "num_classes is of type int; received True"),
    ("tiny", {"in_channels": -1}, "in_channels is at least 1; received -1"),
    ("tiny", {"head_hidden_dim": -1}, "head_hidden_dim is at least 0; received -1"),
    ("tiny", {"stem": "cfiar"}, "'cfiar'. Did you mean 'cifar'"),
    ("tiny", {"shortcut": "E"}, "shortcut is one of A, B, C, D; received 'E'"),
    ("tiny", {"drop_path_rate": 1.0}, "drop_path_rate is at least 0 and less than 1"),
    ("tiny", {"drop_path_rate": "0.2"}, "drop_path_rate is of type float"),
    ("tiny", {"num_blocks": (1, 1)}, "one value for each stage"),
    ("tiny", {"num_blocks": (), "out_channels": (), "strides": ()}, "one value for each stage"),
    ("tiny", {"num_blocks": (1, 0, 1)}, r"num_blocks is of type tuple; received \(1, 0, 1\)"),
    ("tiny", {"dropout": 0.3}, "dropout=0.3 is that of wide residual networks"),
    ("tiny", {"groups": 32}, "groups=32 needs branch='bottleneck'"),
    ("tiny", {"branch": "bottleneck"}, "mid_channels must have one value for each stage"),
    ("tiny", {"stem_preact": True}, "stem_preact=True needs preactivation=True"),
    ("tiny", {"pool_window": 2}, "pool='window' and pool_window need each other"),
    ("resnet18", {"pool": "window"}, "pool='window' and pool_window need each other"),
    ("plain18", {"drop_path_rate": 0.5}, "needs shortcuts"),
    ("plain18", {"zero_init_residual": True}, "zero_init_residual=True needs"),
    ("plain18", {"preactivation": True}, "preactivation=True needs block='residual'"),
    ("cifar_highway20", {"attention": "se"}, "attention='se' needs a branch of several layers"),
    ("cifar_highway20", {"block": "residual", "preactivation": True}, "branch='single' is activated after"),
]


@pytest.mark.parametrize(("name", "changes", "message"), WRONG)
def test_an_invalid_setting_is_refused_in_one_line(name, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        zoo.get_spec(name, **changes)
    assert "\n" not in str(caught.value)


def test_whole_numbers_serve_for_rates_and_lists_for_tuples():
    spec = zoo.get_spec("tiny", drop_path_rate=0, num_blocks=[1, 1, 1])
    assert spec.num_blocks == (1, 1, 1)
    build(spec)


def test_an_image_too_small_for_the_window_is_refused_when_building():
    with pytest.raises(UserError, match=r"imgsz=16 gives feature maps of \dx\d, smaller than the pooling window of 4"):
        zoo.build("notes_basic_resnet", imgsz=16)


def test_stochastic_depth_grows_linearly_to_the_last_block():
    net = zoo.build("cifar_resnet20", drop_path_rate=0.5)
    rates = [module.p for module in net.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.5 * number / 9 for number in range(1, 10)])
    assert len({key for key in net.state_dict() if "conv1.weight" in key}) == 9


def test_stochastic_depth_wraps_every_kind_of_branch_but_no_plain_one():
    for name in ("tiny", "wrn_16_8", "resnet50_v2", "keras_resnet50v2", "cbam_resnet18", "cifar_highway20"):
        with torch.device("meta"):
            net = zoo.build(name, drop_path_rate=0.3)
        for module in net.modules():
            if isinstance(module, Block):
                dropped = isinstance(module.branch, nn.Sequential) and isinstance(module.branch.drop, StochasticDepth)
                assert dropped != isinstance(module, PlainBlock), name


def test_stochastic_depth_changes_training_and_not_evaluation():
    torch.manual_seed(0)
    net, plain = zoo.build("tiny", drop_path_rate=0.6), zoo.build("tiny")
    plain.load_state_dict({key.replace("branch.branch", "branch"): value for key, value in net.state_dict().items()})
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net.eval()(x), plain.eval()(x))
        net.train()
        assert not torch.equal(net(x), net(x))


def test_hidden_is_a_dense_layer_with_relu_before_the_last_one():
    net = zoo.build("tiny", num_classes=5, head_hidden_dim=512).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        pooled = net.forward_pooled(x)
        hidden = (pooled @ net.head.hidden.weight.T + net.head.hidden.bias).relu()
        assert torch.allclose(net(x), hidden @ net.head.fc.weight.T + net.head.fc.bias, atol=1e-6)
    assert (pooled.shape, hidden.shape) == ((2, 48), (2, 512))


def test_every_field_is_documented():
    documented = ResNetSpec.__doc__ or ""
    for field in dataclasses.fields(ResNetSpec):
        assert field.name in documented, field.name


def test_a_network_holds_no_specification():
    for module in zoo.build("tiny").modules():
        assert not any(isinstance(value, ResNetSpec) for value in vars(module).values())


def test_names_of_tensors_are_stable():
    """Checkpoints of users depend on them."""
    net = zoo.build("cbam_resnet50", head_hidden_dim=8)
    keys = {key for key in net.state_dict() if "block1." in key or "block" not in key}
    kept = {key.split(".", 1)[-1] for key in keys if key.startswith("stage1")}
    assert {key for key in kept if key.endswith("weight")} == {
        f"block1.{part}.weight"
        for part in (
            "branch.conv1", "branch.norm1", "branch.conv2", "branch.norm2", "branch.conv3", "branch.norm3",
            "branch.attention.reduce", "branch.attention.expand", "branch.attention.spatial", "branch.attention.norm",
            "shortcut.conv", "shortcut.norm",
        )
    }  # fmt: skip
    assert {key for key in keys if key.endswith("weight") and not key.startswith("stage")} == {
        "stem.conv.weight", "stem.norm.weight", "head.hidden.weight", "head.fc.weight",
    }  # fmt: skip
    preactivation = zoo.build("keras_resnet50v2").state_dict()
    for key in ("stage1.block1.norm.weight", "stage1.block1.branch.norm2.weight", "final.norm.weight"):
        assert key in preactivation
    assert "stage1.block1.gate.bias" in zoo.build("cifar_highway20").state_dict()


def test_zero_init_residual_makes_each_block_its_shortcut():
    for name in ("resnet18", "resnet50", "resnet50_v2"):
        net = zoo.build(name, zero_init_residual=True).eval()
        block = net.stages["stage1"][1]
        x = torch.randn(1, net.feature_channels["stage1"], 8, 8).relu()
        assert torch.equal(block(x), x), name
    assert not any((module.weight == 0).all() for module in zoo.build("resnet18").modules()
                   if isinstance(module, nn.BatchNorm2d))  # fmt: skip
