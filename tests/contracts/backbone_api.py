"""What timm's tests of a model ask of each network, as one function for each question, and the networks that are asked.

The questions are those of tests/test_models.py of timm 1.0: forward, backward, sizes of features with and without pooling and
classifier, features_only, intermediates, TorchScript, torch.fx, and beside them groups of parameters and checkpointing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx
from timm.models._manipulate import group_with_matcher
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

import resnets
from resnets.models import zoo
from resnets.models.resnet import ResNet

NUM_CLASSES = 6


@dataclass(frozen=True)
class Network:
    """A network of the zoo with one or two blocks in a stage, and timm's name of the same one."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    timm_name: str | None = None
    side: int = 64  # of the images

    @property
    def full(self) -> dict[str, Any]:
        """The settings of timm's network with the same few blocks."""
        stages = len(zoo.get_spec(self.name).num_blocks)
        return {"num_blocks": (2,) + (1,) * (stages - 1), **self.changes}

    @property
    def narrow(self) -> dict[str, Any]:
        """The same with few channels, which takes a third of the time."""
        spec = zoo.get_spec(self.name)
        widths = {"stem_channels": 16, "out_channels": (16, 32, 48, 64)[: len(spec.num_blocks)]}
        if spec.mid_channels:
            widths |= {"mid_channels": (8, 16, 16, 32), "groups": min(spec.groups, 4)}
        return widths | self.full

    def make(self, **settings: Any) -> ResNet:
        torch.manual_seed(0)
        return resnets.create_model(self.name, num_classes=NUM_CLASSES, **(settings or self.narrow))

    def make_features(self, *, full: bool = False, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        return resnets.create_model(self.name, features_only=True, **options, **(self.full if full else self.narrow))

    def images(self, count: int = 2) -> Tensor:
        return torch.randn(count, 3, self.side, self.side, generator=torch.Generator().manual_seed(1))


NETWORKS = [
    Network("resnet18", timm_name="resnet18"),
    Network("resnet50d", timm_name="resnet50d"),
    Network("resnet50_v2", {"stride_at": "3x3", "stem_preact": True}, "resnetv2_50"),
    Network("se_resnet18", timm_name="seresnet18"),
    Network("resnext50_32x4d", timm_name="resnext50_32x4d"),
    Network("cbam_resnet18"),
    Network("plain18"),
    Network("keras_resnet50v2"),
    Network("cifar_preresnet110", side=32),
    Network("cifar_highway20", side=32),
    Network("wrn_16_8", {"out_channels": (16, 32, 64)}, side=32),
    # A pooling window, so images of one size.
    Network("notes_basic_resnet", {"imgsz": 224, "stem_channels": 8, "out_channels": (8, 16, 24, 32)}, side=224),
]


def forward(network: Network) -> None:
    with torch.inference_mode():
        logits = network.make().eval()(network.images())
    assert logits.shape == (2, NUM_CLASSES)
    assert torch.isfinite(logits).all()


def backward(network: Network) -> None:
    """Every parameter gets a gradient."""
    net = network.make().train()
    net(network.images()).mean().backward()
    assert [name for name, each in net.named_parameters() if each.grad is None] == []


@torch.inference_mode()
def features_and_head(network: Network) -> None:
    """`forward` is `forward_features` and `forward_head`; `num_features` and `head_hidden_size` are their sizes."""
    net = network.make().eval()
    x = network.images()
    maps = net.forward_features(x)
    assert maps.shape[:2] == (2, net.num_features)
    assert maps.shape[2] == -(-network.side // net.feature_info.reduction()[-1])
    assert torch.equal(net.forward_head(maps), net(x))
    vectors = net.forward_head(maps, pre_logits=True)
    assert vectors.shape == (2, net.head_hidden_size)
    assert torch.equal(net.get_classifier()(vectors), net(x))


@torch.inference_mode()
def classifier(network: Network) -> None:
    """Taken off, left without pooling, and put on again."""
    net = network.make().eval()
    x = network.images()
    maps = net.forward_features(x)
    vectors = net.forward_head(maps, pre_logits=True)
    net.reset_classifier(0)
    assert isinstance(net.get_classifier(), nn.Identity)
    assert torch.equal(net(x), vectors)
    net.reset_classifier(4)
    assert net(x).shape == (2, 4)
    assert torch.equal(net.forward_head(maps, pre_logits=True), vectors)
    net.reset_classifier(0, "")
    assert torch.equal(net(x), maps)
    net.reset_classifier(3, "avg")
    assert torch.equal(net.forward_head(maps, pre_logits=True), torch.nn.AdaptiveAvgPool2d(1)(maps).flatten(1))
    assert net(x).shape == (2, 3)
    assert net.head_hidden_size == net.num_features
    assert net(x[:, :, :-8]).shape == (2, 3)  # of any size, also where the pooling had a window before


@torch.inference_mode()
def features_only(network: Network) -> None:
    """The maps have the channels and strides of `feature_info`; those of some indices are the same maps."""
    net = network.make_features().eval()
    x = network.images()
    maps = net(x)
    assert [each.shape[1] for each in maps] == net.feature_info.channels()
    assert [each.shape[2] for each in maps] == [-(-network.side // stride) for stride in net.feature_info.reduction()]
    for indices in ((0,), (1, 3), (-1,)):
        part = network.make_features(out_indices=indices).eval()
        part.load_state_dict({name: net.state_dict()[name] for name in part.state_dict()})
        found = part(x)
        assert part.feature_info == net.feature_info.select(range(len(maps))[index] for index in indices)
        assert all(torch.equal(one, maps[index]) for one, index in zip(found, indices, strict=True))


@torch.inference_mode()
def output_stride(network: Network) -> None:
    """The strides of the last stages become dilation, no map goes above the wanted stride, and the maps are those of the network.

    Attention averages the map, which has more positions with dilation.
    """
    plain = network.make_features().eval().double()
    strides = plain.feature_info.reduction()
    wanted = strides[-2]
    net = network.make_features(output_stride=wanted).eval().double()
    assert net.feature_info.reduction() == [min(stride, wanted) for stride in strides]
    x = network.images().double()
    maps = net(x)
    assert [each.shape[2] for each in maps] == [-(-network.side // stride) for stride in net.feature_info.reduction()]
    for found, expected, stride in zip(maps, plain(x), strides, strict=True):
        if stride <= wanted or zoo.get_spec(network.name).attention == "none":
            step = max(stride // wanted, 1)
            torch.testing.assert_close(found[..., ::step, ::step], expected, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def intermediates(network: Network) -> None:
    """`forward_intermediates` has the result of `forward_features` beside the maps of `features_only`."""
    net = network.make().eval()
    x = network.images()
    last, maps = net.forward_intermediates(x)
    assert torch.equal(last, net.forward_features(x))
    features = network.make_features().eval()
    features.load_state_dict({name: net.state_dict()[name] for name in features.state_dict()})
    assert all(torch.equal(one, other) for one, other in zip(maps, features(x), strict=True))
    assert torch.equal(net.forward_intermediates(x, norm=True, intermediates_only=True)[-1], last)
    some = net.forward_intermediates(x, [1, -2], intermediates_only=True)
    assert all(torch.equal(one, maps[index]) for one, index in zip(some, (1, len(maps) - 2), strict=True))
    assert torch.equal(net.forward_intermediates(x, 2)[1][0], maps[-2])
    stopped, [only] = net.forward_intermediates(x, [1], stop_early=True)
    assert torch.equal(stopped, maps[1])
    assert torch.equal(only, maps[1])
    some_maps = network.make_features(out_indices=(0, len(maps) - 1)).eval()
    stopped, [only] = some_maps.forward_intermediates(x, [0], stop_early=True)
    assert torch.equal(stopped, only if some_maps.feature_info[0]["module"] == "stem" else some_maps.stem(x))


def torchscript(network: Network) -> None:
    """`tests/contracts/test_integration.py` asks this of whole networks."""
    net, x = network.make_features().eval(), network.images()
    with torch.inference_mode(), torch.jit.optimized_execution(False):
        assert_equal(torch.jit.script(net)(x), net(x))


def fx(network: Network) -> None:
    """The traced graph computes the same, with the same gradients."""
    x = network.images()
    net = network.make().eval()
    traced = torch.fx.symbolic_trace(copy.deepcopy(net))
    for each in (net, traced):
        each(x).square().sum().backward()
    assert_equal(traced(x), net(x))
    gradients = dict(traced.named_parameters())
    for name, parameter in net.named_parameters():
        assert torch.equal(gradients[name].grad, parameter.grad), name
    with torch.inference_mode():
        features = network.make_features().eval()
        assert_equal(torch.fx.symbolic_trace(features)(x), features(x))


def groups(network: Network) -> None:
    """timm groups the parameters in the order of the network, and gives earlier ones smaller learning rates."""
    net = network.make()
    for coarse in (False, True):
        layers = group_with_matcher(net.named_parameters(), net.group_matcher(coarse))
        names = [name for layer in layers.values() for name in layer]
        assert sorted(names) == sorted(name for name, _ in net.named_parameters())
        expected = len(net.stages) if coarse else sum(len(stage) for stage in net.stages.values())
        assert len(layers) == 1 + expected + 1
        parts = [{re.match(r"stage\d+|[a-z]+", name)[0] for name in layer} - {"final"} for layer in layers.values()]  # type: ignore[index]
        assert list(dict.fromkeys(name for [name] in parts)) == ["stem", *net.stages, "head"]
        assert all(name.startswith("final") == (name in layers[len(layers) - 2]) for name in names if "final" in name)
    scales = {
        id(each): group["lr_scale"]
        for group in param_groups_layer_decay(net, layer_decay=0.5)
        for each in group["params"]
    }
    parameters = list(net.parameters())
    assert scales[id(parameters[-1])] == 1.0
    assert scales[id(parameters[0])] == 0.5 ** (
        len(group_with_matcher(net.named_parameters(), net.group_matcher())) - 1
    )


def checkpointing(network: Network) -> None:
    """Less is kept for the backward pass; gradients and running statistics are the same."""
    results = []
    for enable in (False, True):
        net = network.make().train()
        net.set_grad_checkpointing(enable)
        kept: list[int] = []

        def pack(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = net(network.images()).square().sum()
        loss.backward()
        results.append((sum(kept), [each.grad for each in net.parameters()], list(net.buffers())))
    (plain, *wanted), (saved, *found) = results
    assert saved < 0.8 * plain
    for one, other in zip(found, wanted, strict=True):
        assert_equal(one, other)


def assert_equal(found: Any, wanted: Any) -> None:
    if isinstance(wanted, Tensor):
        assert torch.equal(found, wanted)
    else:
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(one, other)


QUESTIONS: list[Callable[[Network], None]] = [
    forward, backward, features_and_head, classifier, features_only, output_stride, intermediates, torchscript, fx, groups,
    checkpointing,
]  # fmt: skip
