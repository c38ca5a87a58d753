"""Networks that are built from specifications."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.blocks import Block, PlainBlock
from resnets.models.spec import ResNetSpec


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


def test_a_network_holds_no_specification():
    for module in zoo.build("tiny").modules():
        assert not any(isinstance(value, ResNetSpec) for value in vars(module).values())


def test_names_of_tensors_are_stable():
    """Checkpoints of users depend on them."""
    blocks = (1, 1, 1, 1)
    net = zoo.build("cbam_resnet50", head_hidden_dim=8, num_blocks=blocks)
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
    preactivation = zoo.build("keras_resnet50v2", num_blocks=blocks).state_dict()
    for key in ("stage1.block1.norm.weight", "stage1.block1.branch.norm2.weight", "final.norm.weight"):
        assert key in preactivation
    assert "stage1.block1.gate.bias" in zoo.build("cifar_highway20").state_dict()


def test_zero_init_residual_makes_each_block_its_shortcut():
    for name in ("resnet18", "resnet50", "resnet50_v2"):
        net = zoo.build(name, zero_init_residual=True, num_blocks=(2, 1, 1, 1)).eval()
        block = net.stages["stage1"][1]
        x = torch.randn(1, net.feature_channels["stage1"], 8, 8).relu()
        assert torch.equal(block(x), x), name
    assert not any((module.weight == 0).all() for module in zoo.build("resnet18").modules()
                   if isinstance(module, nn.BatchNorm2d))  # fmt: skip
