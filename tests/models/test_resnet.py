"""The network as a whole, and without its head."""

from __future__ import annotations

import pytest
import torch

import resnets
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.backbone import Backbone
from resnets.models.resnet import ResNet


def test_a_backbone_shares_what_the_network_has():
    torch.manual_seed(0)
    net = zoo.build("tiny").eval()
    x = torch.randn(2, 3, 40, 56)
    with torch.inference_mode():
        last = net.features(x)["stage3"]
        assert torch.equal(net.backbone()(x), last)
        assert torch.equal(net.backbone("avg")(x), net.forward_pooled(x))
        assert torch.equal(net.backbone("max")(x), last.amax((2, 3)))
    assert {id(each) for each in net.backbone().parameters()} < {id(each) for each in net.parameters()}
    names = [name for name in net.state_dict() if not name.startswith("head.")]
    assert list(net.backbone().state_dict()) == names


@pytest.mark.parametrize("name", ["tiny", "resnet50_v2", "notes_resnet50"])
@torch.no_grad()
def test_create_without_the_top(name):
    with torch.device("meta"):
        blocks = tuple(min(number, 2) for number in zoo.get_spec(name).num_blocks)
        bodies = {
            pooling: resnets.create_model(name, include_top=False, pooling=pooling, num_blocks=blocks)
            for pooling in (None, "avg", "max")
        }
        x = torch.empty(2, 3, 96, 64)
    for pooling, body in bodies.items():
        assert isinstance(body, Backbone)
        assert not isinstance(body, ResNet)
        last = list(body.feature_channels)[-1]
        side = body.feature_strides[last]
        maps = (2, body.feature_channels[last], -(-96 // side), -(-64 // side))
        out = body(x)
        assert out.dim() == (4 if pooling is None else 2)
        assert out.shape[:2] == maps[:2]
    assert list(bodies[None].features(x)) == list(bodies[None].feature_channels)
    with pytest.raises(ValueError, match=f"{bodies[None].min_size - 1}x"):
        bodies[None](torch.empty(1, 3, bodies[None].min_size - 1, 64, device="meta"))


def test_arguments_that_do_not_go_together():
    with pytest.raises(UserError, match="pooling='avg' needs include_top=False"):
        resnets.create_model("tiny", pooling="avg")
    with pytest.raises(UserError, match="no classes; received num_classes=5"):
        resnets.create_model("tiny", include_top=False, num_classes=5)
    with pytest.raises(UserError, match="pooling is None, 'avg' or 'max'; received 'average'"):
        resnets.create_model("tiny", include_top=False, pooling="average")
