"""Networks as parts of other people's code: TorchScript, torch.fx, torchvision's detection parts, torch's idioms."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from functools import cache

import pytest
import torch
import torchvision
from tests.in_soak import IN_SOAK
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN

import resnets
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.resnet import ResNet


def families() -> list[str]:
    """One network of each kind: what it leaves out repeats its blocks."""
    kinds: dict[str, str] = {}
    for name in zoo.list_models():
        described = zoo.get_spec(
            name, num_blocks=tuple(min(depth, 2) for depth in zoo.get_spec(name).num_blocks)
        ).to_dict()
        for free in ("name", "out_channels", "mid_channels", "stem_channels", "gate_bias"):
            del described[free]
        kinds.setdefault(str(described), name)
    return list(kinds.values())


FAMILIES = families()
SCRIPTED = [
    *("resnet50d", "se_resnet18", "cbam_resnet18", "keras_resnet50v2"),
    *("cifar_preresnet110", "cifar_highway20", "notes_basic_resnet"),
]


@cache
def made(name: str) -> ResNet:
    torch.manual_seed(0)
    num_blocks = (
        2,
        *[1] * (len(zoo.get_spec(name).num_blocks) - 1),
    )  # a block that changes nothing, and each that does
    return build(zoo.get_spec(name, num_blocks=num_blocks, num_classes=3)).eval()


def images(net: ResNet) -> torch.Tensor:
    side = net.fixed_size or 32
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FAMILIES if IN_SOAK else SCRIPTED)
def test_the_network_and_its_graph_are_scripted(name):
    """Each kind of module, and every family in `make soak`."""
    net = made(name)
    x = images(net)
    with torch.inference_mode(), torch.jit.optimized_execution(False):
        wanted = net(x)
        assert torch.equal(torch.jit.script(net)(x), wanted)
        assert torch.equal(torch.jit.script(torch.fx.symbolic_trace(net))(x), wanted)


def test_a_scripted_network_is_saved_and_loaded(tmp_path):
    net = made("tiny")
    torch.jit.script(net).save(tmp_path / "net.pt")
    assert torch.equal(torch.jit.load(tmp_path / "net.pt")(images(net)), net(images(net)))


@pytest.mark.parametrize("name", ["tiny", "notes_resnet50"])
def test_a_graph_written_to_a_folder_can_be_imported(name, tmp_path, monkeypatch):
    net = made(name)
    torch.fx.symbolic_trace(net).to_folder(tmp_path / f"written_{name}", "Written")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(f"written_{name}.module")
    try:
        assert torch.equal(module.Written()(images(net)), net(images(net)))
    finally:
        del sys.modules[f"written_{name}.module"], sys.modules[f"written_{name}"]


def test_a_network_is_exported_for_any_batch_and_size():
    net, batch = made("resnet18"), torch.export.Dim("batch")
    sides = {2: torch.export.Dim("height", min=33, max=512), 3: torch.export.Dim("width", min=33, max=512)}
    exported = torch.export.export(net, (torch.rand(2, 3, 64, 64),), dynamic_shapes={"x": {0: batch, **sides}})
    x = torch.rand(3, 3, 40, 56)
    torch.testing.assert_close(exported.module()(x), net(x))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_children_are_the_layers_in_order(name):
    net = made(name)
    x = images(net)
    names = [name for name, _ in net.named_children()]
    stages = [f"stage{i + 1}" for i in range(len(zoo.get_spec(name).num_blocks))]
    assert names == ["stem", *stages, *(["final"] if "final" in names else []), "pool", "head"]
    with torch.no_grad():
        pooled = nn.Sequential(*list(net.children())[:-1])(x)
        assert torch.equal(torch.flatten(pooled, 1), net.forward_pooled(x))
        if not net.fixed_size:
            assert pooled.shape == (1, net.head.in_features, 1, 1)
        maps = IntermediateLayerGetter(net, {stage: stage for stage in stages})(x)
        found = net.features(x)
        assert all(torch.equal(maps[stage], found[stage]) for stage in stages[:-1])


def test_torchvisions_pyramid_reads_a_network():
    net = made("resnet18")
    names = [f"stage{i}" for i in range(1, 5)]
    body = BackboneWithFPN(
        net, {name: str(i) for i, name in enumerate(names)}, [net.feature_channels[n] for n in names], 16
    )
    sides = {key: tuple(maps.shape[1:]) for key, maps in body(torch.rand(1, 3, 64, 64)).items()}
    assert sides == {"0": (16, 16, 16), "1": (16, 8, 8), "2": (16, 4, 4), "3": (16, 2, 2), "pool": (16, 1, 1)}


def test_the_maps_before_the_first_pooling_are_a_feature():
    maps = made("resnet18").features(torch.rand(1, 3, 64, 64))
    assert {name: 64 // each.shape[-1] for name, each in maps.items()} == made("resnet18").feature_strides
    assert list(made("resnet18").feature_strides.values()) == [2, 4, 4, 8, 16, 32]
    assert maps["stem_conv"].min() == 0  # behind its norm and activation
    assert next(iter(made("cifar_resnet20").feature_strides)) == "stem"  # it has no pooling


@pytest.mark.parametrize("name", [name for name in FAMILIES if zoo.get_spec(name).pool != "window"])
def test_images_of_28_pixels_are_taken(name):
    assert made(name)(torch.rand(1, 3, 28, 28)).isfinite().all()


def test_a_layer_of_another_name_is_refused_and_the_classifier_can_be_replaced():
    net = copy.deepcopy(made("resnet18"))
    for name in ("conv1", "classifier", "neck"):
        with pytest.raises(AttributeError, match=rf"no layer '{name}'.* replace `net\.fc`"):
            setattr(net, name, nn.Linear(512, 3))
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'; its layers are stem, stage1"):
            getattr(net, name)
    x = images(net)
    net.head.fc = nn.Linear(512, 5)
    assert net(x).shape == (1, 5)
    net.fc = nn.Linear(net.fc.in_features, 3)  # as torchvision calls it
    assert net(x).shape == (1, 3)
    assert net.fc is net.head.fc
    assert "fc.weight" not in net.state_dict()
    assert torch.equal(torch.jit.script(net)(x), net(x))
    net.head = nn.Linear(512, 7)
    assert net.fc is net.head
    assert net(x).shape == (1, 7)
    net.head = nn.Identity()
    assert torch.equal(net(x), net.forward_pooled(x))
    net.remark = "anything else is an attribute"


def test_a_slice_is_a_sequence_of_layers():
    net = made("tiny")
    assert torch.equal(net[:-2](images(net)), net.forward_features(images(net)))


def test_tensors_by_the_names_of_another_library_are_told_from_missing_ones():
    tensors = torchvision.models.resnet18().state_dict()
    with pytest.raises(RuntimeError, match=r"the names of another library, such as 'conv1\.weight'.*weights convert"):
        made("resnet18").load_state_dict(tensors)
    with pytest.raises(RuntimeError, match="Missing key"):
        made("resnet18").load_state_dict({"head.fc.bias": made("resnet18").head.fc.bias})


def test_annotations_are_types_and_not_strings():
    """torch.fx writes the annotations of `forward` into its code, which TorchScript then reads."""
    for module in {type(module) for name in FAMILIES for module in made(name).modules()}:
        if module.__module__.startswith("resnets."):
            assert not any(isinstance(each, str) for each in inspect.get_annotations(module.forward).values()), module


def test_the_public_function_gives_such_a_network():
    assert torch.jit.script(resnets.create_model("tiny", num_classes=3)).training
