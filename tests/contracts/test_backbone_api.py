"""The networks have timm's interface of a backbone, and give timm's maps where timm has the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from tests.contracts.backbone_api import NETWORKS, NUM_CLASSES, QUESTIONS, Network, assert_equal, torchscript
from tests.in_soak import IN_SOAK
from torch import nn

import resnets
from resnets.errors import UserError
from resnets.models import zoo
from resnets.weights.formats.timm import keymap

# One with each kind of block, of shortcut and of pooling; the others, in `make soak`, join these in other ways.
FEW = ("resnet18", "resnet50d", "resnet50_v2", "cbam_resnet18", "cifar_highway20", "notes_basic_resnet")
SCRIPTED = ("resnet50_v2", "notes_basic_resnet")  # test_block_variants.py scripts each kind of block
ASKED = [network for network in NETWORKS if IN_SOAK or network.name in FEW]
SHARED = [network for network in ASKED if network.timm_name]


@pytest.mark.parametrize("network", ASKED, ids=lambda network: network.name)
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_network(network: Network, question: Callable[[Network], None]) -> None:
    if question is torchscript and network.name not in SCRIPTED and not IN_SOAK:
        pytest.skip("1 s; part of `make soak`")
    question(network)


def tensors_of(network: Network) -> dict[str, torch.Tensor]:
    """The tensors of a new network with random statistics, float64, by timm's names."""
    net = network.make(**network.full).double()
    generator = torch.Generator().manual_seed(2)
    for name, tensor in net.state_dict().items():
        if name.endswith(("running_mean", "norm.bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    spec = zoo.get_spec(network.name, num_classes=NUM_CLASSES, **network.full)
    return keymap(spec).from_resnets(net.state_dict())


@pytest.mark.parametrize("network", SHARED, ids=lambda network: network.name)
@torch.inference_mode()
def test_the_same_weights_give_timms_features(network: Network) -> None:
    layers: Any = network.full["num_blocks"]
    spec = zoo.get_spec(network.name, num_classes=NUM_CLASSES, **network.full)
    tensors = tensors_of(network)
    with torch.device("meta"):
        theirs = timm.create_model(network.timm_name, num_classes=NUM_CLASSES, layers=layers).eval()
        ours = network.make(**network.full).eval()
    theirs.load_state_dict(tensors, assign=True)
    ours.load_state_dict(keymap(spec).to_resnets(tensors), assign=True)
    x = torch.randn(1, 3, 71, 50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert_close(ours.forward_features(x), theirs.forward_features(x))
    maps = ours.forward_features(x)
    for pre_logits in (False, True):
        found, wanted = (each.forward_head(maps, pre_logits=pre_logits) for each in (ours, theirs))
        assert_close(found, wanted)
    for options in ({}, {"norm": True}, {"indices": [0, 2], "stop_early": True}, {"indices": 2}):
        (found, some), (wanted, others) = (each.forward_intermediates(x, **options) for each in (ours, theirs))
        assert len(some) == len(others)
        for one, other in zip([*some, found], [*others, wanted], strict=True):
            assert_close(one, other)
    # timm pools the shortcuts of resnet50d over neighbors where it dilates, which is another function than the network's.
    dilated = () if spec.shortcut == "D" else ((16, (1, 4)), (8, (2, 3)))
    for stride, indices in ((32, (0, 1, 2, 3, 4)), *dilated):
        options = {"features_only": True, "output_stride": stride, "out_indices": indices}
        with torch.device("meta"):
            theirs = timm.create_model(network.timm_name, layers=layers, **options).eval()
            found_net = network.make_features(full=True, output_stride=stride, out_indices=indices).eval()
        own = ours.state_dict()
        found_net.load_state_dict({name: own[name] for name in found_net.state_dict()}, assign=True)
        load(theirs, tensors)
        assert found_net.feature_info.channels() == theirs.feature_info.channels()
        assert found_net.feature_info.reduction() == theirs.feature_info.reduction()
        for one, other in zip(found_net(x), theirs(x), strict=True):
            assert_close(one, other)


def load(features: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Load the tensors of a network into timm's `features_only` network, whose modules have other names in part."""
    names = {name.replace("stages.", "stages_").replace("stem.", "stem_"): tensor for name, tensor in tensors.items()}
    own = features.state_dict()
    features.load_state_dict({name: names[name] if name in names else tensors[name] for name in own}, assign=True)


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_what_does_not_go_together() -> None:
    net = NETWORKS[0].make()
    for arguments, message in (
        ({"num_classes": 3, "global_pool": ""}, "Classes need pooled features; received num_classes=3"),
        ({"num_classes": 3, "global_pool": "sum"}, "global_pool is 'avg', 'max', '' or None; received 'sum'"),
    ):
        with pytest.raises(UserError, match=message):
            net.reset_classifier(**arguments)
    net.reset_classifier(0, "")
    with pytest.raises(UserError, match="received num_classes=2 and global_pool=None"):
        net.reset_classifier(2)
    for indices in ([5], [-6], [], 0, 6):
        with pytest.raises(UserError, match="has 5 feature maps, with indices 0 to 4; received indices="):
            net.forward_intermediates(NETWORKS[0].images(), indices)
    with pytest.raises(ValueError, match="received output_fmt='NLC'"):
        net.forward_intermediates(NETWORKS[0].images(), output_fmt="NLC")
    for options, message in (
        ({"out_indices": (1,)}, "out_indices=.1,. needs features_only=True"),
        ({"output_stride": 16}, "output_stride=16 needs features_only=True"),
        ({"features_only": True, "pooling": "avg"}, "which pooling='avg' has no effect on"),
        ({"features_only": True, "output_stride": 12}, r"a stride of \[4, 8, 16, 32\]; received output_stride=12"),
        ({"features_only": True, "output_stride": 2}, r"a stride of \[4, 8, 16, 32\]; received output_stride=2"),
        ({"features_only": True, "out_indices": (7,)}, "received out_indices=.7,."),
    ):
        with pytest.raises(UserError, match=message):
            resnets.create_model("resnet18", **options)


def test_a_dilated_backbone_shares_the_networks_function() -> None:
    """`output_stride` without `features_only`; on every fourth position, the maps are the network's."""
    torch.manual_seed(0)
    net = resnets.create_model("resnet18", include_top=False).eval()
    dilated = resnets.create_model("resnet18", include_top=False, output_stride=8).eval()
    dilated.load_state_dict(net.state_dict())
    x = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(dilated(x)[:, :, ::4, ::4], net(x), rtol=1e-4, atol=1e-5)


def test_equal_results_are_told_from_others() -> None:
    with pytest.raises(AssertionError):
        assert_equal([torch.zeros(1)], [torch.ones(1)])


def test_checkpointing_updates_the_statistics_of_synchronized_norms_once() -> None:
    results = []
    for enable in (False, True):
        torch.manual_seed(0)
        net = nn.SyncBatchNorm.convert_sync_batchnorm(resnets.create_model("cifar_resnet20", num_classes=3)).train()
        net.set_grad_checkpointing(enable)
        net(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))).sum().backward()
        results.append(dict(net.named_buffers()))
    assert int(results[0]["stem.norm.num_batches_tracked"]) == 1
    for name, buffer in results[0].items():
        assert torch.equal(results[1][name], buffer), name
