"""What training programs write around a network: ten kinds of checkpoints and more, converted and predicted with."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.weights.narrow_resnet import NarrowResNet
from torch import Tensor, nn

import resnets
from resnets.errors import UserError
from resnets.weights import checkpoint as checkpoints
from resnets.weights.conversion import convert
from resnets.weights.identify import inspect
from resnets.weights.load_weights import Request, load

IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return NarrowResNet(num_classes=5).eval()


@pytest.fixture(scope="module")
def wanted(net: nn.Module) -> Tensor:
    with torch.inference_mode():
        return net(IMAGE)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def body(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def other(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor + 1 for name, tensor in state.items()}


def children(net: nn.Module, end: int | None = None) -> dict[str, Tensor]:
    return nn.Sequential(*list(net.children())[:end]).state_dict()


def momentum(net: nn.Module) -> dict[str, Any]:
    """The state of an optimizer after a step."""
    clone = NarrowResNet(num_classes=5)
    clone.load_state_dict(net.state_dict())
    optimizer = torch.optim.SGD(clone.parameters(), 0.1, momentum=0.9)
    clone(IMAGE).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def outer_head(state: Mapping[str, Tensor], prefix: str, head: str) -> dict[str, Tensor]:
    return {**under(prefix, body(state)), f"{head}.weight": state["fc.weight"], f"{head}.bias": state["fc.bias"]}


NAMES = {"ant": 1, "bee": 0, "cat": 2, "dog": 3, "eel": 4}
# Kind -> from a network of torchvision to what its program writes.
WITH_HEAD = {
    "torchvision references": lambda net: {"model": net.state_dict(), "optimizer": momentum(net), "epoch": 3,
                                           "args": argparse.Namespace(lr=0.1, output_dir=pathlib.Path("x")),
                                           "model_ema": torch.optim.swa_utils.AveragedModel(net).state_dict()},
    "timm train": lambda net: {"epoch": 3, "arch": "resnet18", "state_dict": net.state_dict(), "version": 2,
                               "args": argparse.Namespace(lr=0.1), "metric": np.float64(71.2),
                               "state_dict_ema": other(net.state_dict())},
    "examples imagenet": lambda net: {"epoch": 3, "arch": "resnet18", "best_acc1": torch.tensor(71.0),
                                      "state_dict": under("module.", net.state_dict()), "optimizer": momentum(net)},
    "lightning": lambda net: {"state_dict": {**under("model.", net.state_dict()), "criterion.weight": torch.ones(5),
                                             "train_acc.tp": torch.zeros(5)}, "callbacks": {}, "loops": {"a": {}},
                              "pytorch-lightning_version": "2.5", "hyper_parameters": {"class_names": sorted(NAMES)}},
    "averaged": lambda net: torch.optim.swa_utils.AveragedModel(net).state_dict(),
    "odd values": lambda net: {"net": net.state_dict(), "date": datetime.datetime(2025, 1, 1), "device": torch.device("cuda"),
                               "path": pathlib.PurePosixPath("/x"), "counts": collections.Counter("aab"),
                               "log": collections.defaultdict(list, {"loss": [1.0]}), "best": np.float32(3)},
    "dropout before the head": lambda net: outer_head(net.state_dict(), "", "fc.1"),
    "another prefix": lambda net: {"state_dict": under("base_model.", net.state_dict())},
    "compiled": lambda net: under("_orig_mod.module.", net.state_dict()),
    "a backbone and a head": lambda net: {
        "model_state_dict": outer_head(net.state_dict(), "module.backbone.", "module.classifier")},
    "features and a head": lambda net: {**under("features.", children(net, -1)), "classifier.weight": net.fc.weight,
                                        "classifier.bias": net.fc.bias},
    "two dicts": lambda net: {"model": {"backbone": body(net.state_dict()), "fc": net.fc.state_dict()}},
    "children": lambda net: children(net),
    "OpenMMLab": lambda net: {"meta": {"time": "now"}, "state_dict": outer_head(net.state_dict(), "backbone.", "head.fc")},
    "activation checkpointing": lambda net: {
        name.replace("layer1.0.", "layer1.0._checkpoint_wrapped_module."): tensor for name, tensor in net.state_dict().items()},
    "all tensors as floats": lambda net: {name: tensor.float() for name, tensor in net.state_dict().items()},
    "a whole module": lambda net: nn.DataParallel(net),
    "a whole module in a dict": lambda net: {"epoch": 3, "model": net},
    "lightning EMA": lambda net: {"state_dict": {**under("model.", net.state_dict()),
                                                 **under("ema_model.module.", other(net.state_dict()))}},
    "EMA of a callback": lambda net: {"state_dict": under("net.", net.state_dict()),
                                      "callbacks": {"EMA": {"ema_state_dict": under("net.", other(net.state_dict()))}}},
}  # fmt: skip
WITHOUT = {
    "DINO": lambda net: {"student": {**under("module.backbone.", other(body(net.state_dict()))),
                                     "module.head.mlp.0.weight": torch.zeros(8, 64)},
                         "teacher": {**under("backbone.", body(net.state_dict())), "head.mlp.0.weight": torch.zeros(8, 64)},
                         "args": argparse.Namespace(arch="resnet18"), "epoch": 3},
    "MoCo v2": lambda net: {"arch": "resnet18", "state_dict": {
        **under("module.encoder_q.", body(net.state_dict())), "module.encoder_q.fc.0.weight": torch.zeros(64, 64),
        "module.encoder_q.fc.0.bias": torch.zeros(64), "module.encoder_q.fc.2.weight": torch.zeros(128, 64),
        "module.encoder_q.fc.2.bias": torch.zeros(128), **under("module.encoder_k.", other(body(net.state_dict()))),
        "module.queue": torch.zeros(4, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}},
    "SimCLR": lambda net: {**under("backbone.", body(net.state_dict())), "projector.0.weight": torch.zeros(4, 64)},
    "fastai": lambda net: {"model": {**under("0.", children(net, -2)), "1.2.weight": torch.zeros(128),
                                     "1.4.weight": torch.zeros(512, 128), "1.8.weight": torch.zeros(5, 512)},
                           "opt": momentum(net)},
    "children": lambda net: children(net, -1),
}  # fmt: skip


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", WITH_HEAD)
def test_checkpoints_of_training_convert_and_predict(kind: str, net: nn.Module, wanted: Tensor, tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", WITH_HEAD[kind](net))
    convert(path, to="resnets", out=tmp_path / "o.safetensors")
    classifier = resnets.load(tmp_path / "o.safetensors")
    with torch.inference_mode():
        assert torch.allclose(classifier.model(IMAGE), wanted, atol=1e-5)
    answer = classifier.predict([np.zeros((64, 64, 3), dtype=np.uint8)])[0]
    names = sorted(NAMES) if kind == "lightning" else [f"output {number}" for number in range(5)]
    assert answer.top[0][0] in names


@pytest.mark.parametrize("kind", WITHOUT)
def test_backbones_without_a_head_convert(kind: str, net: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", WITHOUT[kind](net))
    lines = convert(path, to="resnets", out=tmp_path / "o.safetensors")
    assert any("without a head" in line and "resnets train DATA --weights" in line for line in lines)
    found = checkpoints.read(tmp_path / "o.safetensors").tensors
    assert torch.equal(found["stem.conv.weight"], net.conv1.weight)
    assert torch.equal(found["stage4.block2.branch.norm2.weight"], net.layer4[1].bn2.weight)


def test_what_is_selected_and_left_out_is_listed_and_can_be_selected(net: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", WITH_HEAD["timm train"](net))
    notes = "\n".join(load(path).notes)
    assert "under 'state_dict'" in notes
    assert "'state_dict_ema' (averages of weights); `wrapper='state_dict_ema'`" in notes
    assert "argparse.Namespace" in notes
    ema = load(path, Request(wrapper="state_dict_ema")).checkpoint.tensors
    assert torch.equal(ema["stem.conv.weight"], net.conv1.weight + 1)
    path = saved(tmp_path / "d.pth", WITH_HEAD["EMA of a callback"](net))
    ema = load(path, Request(wrapper="callbacks.EMA.ema_state_dict")).checkpoint.tensors
    assert torch.equal(ema["stem.conv.weight"], net.conv1.weight + 1)
    path = saved(tmp_path / "e.pth", WITH_HEAD["lightning EMA"](net))
    ema = load(path, Request(prefix="ema_model.module.")).checkpoint.tensors
    assert torch.equal(ema["stem.conv.weight"], net.conv1.weight + 1)
    assert "left out: criterion.weight, train_acc.tp" in "\n".join(
        load(saved(tmp_path / "f.pth", WITH_HEAD["lightning"](net))).notes
    )
    with pytest.raises(UserError, match=r"no tensors under 'ema'.*'state_dict_ema'"):
        load(tmp_path / "c.pth", Request(wrapper="ema"))
    with pytest.raises(UserError, match=r"do not begin with 'x\.'"):
        load(tmp_path / "c.pth", Request(prefix="x."))


def test_two_indistinguishable_networks_are_asked_about(net: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", {"one": net.state_dict(), "two": other(net.state_dict())})
    with pytest.raises(UserError, match=r"several networks.*`wrapper='one'`, or `wrapper='two'`"):
        load(path)
    assert torch.equal(load(path, Request(wrapper="two")).checkpoint.tensors["head.fc.bias"], net.fc.bias + 1)


def test_names_that_may_change_the_answers_are_left_out_only_when_asked(net: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path / "c.pth", {**net.state_dict(), "attention.weight": torch.zeros(3)})
    with pytest.raises(UserError, match=r"left over: attention\.weight.*`ignore='attention\.weight'`"):
        load(path)
    load(path, Request(ignore=("attention.*",)))
    path = saved(tmp_path / "d.pth", {**outer_head(net.state_dict(), "backbone.", "fc"), "neck.weight": torch.zeros(3)})
    with pytest.raises(UserError, match=r"left over: neck\.weight"):
        load(path)
    pruned = {
        **body(net.state_dict()),
        "fc.weight_orig": net.fc.weight,
        "fc.weight_mask": net.fc.weight,
        "fc.bias": net.fc.bias,
    }
    with pytest.raises(
        UserError, match=r"a weight as several tensors, fc\.weight_orig, fc\.weight_mask.*prune\.remove"
    ):
        load(saved(tmp_path / "p.pth", pruned))
    layers = {**body(net.state_dict()), "fc.0.weight": torch.zeros(8, 64), "fc.0.bias": torch.zeros(8),
              "fc.2.weight": torch.zeros(5, 8), "fc.2.bias": torch.zeros(5)}  # fmt: skip
    path = saved(tmp_path / "e.pth", layers)
    with pytest.raises(UserError, match=r"no last layer under a name of torchvision: fc\.0\.weight.*`ignore='fc\*'`"):
        load(path)
    assert load(path, Request(ignore=("fc*",))).checkpoint.provenance["head"] == checkpoints.UNTRAINED


@pytest.mark.parametrize(("key", "value"), [
    ("class_to_idx", NAMES), ("classes", [*"abcde"]), ("id2label", {number: "abcde"[number] for number in range(5)}),
    ("idx_to_class", {str(number): "abcde"[number] for number in range(5)}),
])  # fmt: skip
def test_names_of_classes_in_the_file_are_used(key: str, value: Any, net: nn.Module, tmp_path: Path) -> None:
    source = load(saved(tmp_path / "c.pth", {"state_dict": net.state_dict(), "meta": {key: value}}))
    assert source.checkpoint.class_names == (("bee", "ant", "cat", "dog", "eel") if value is NAMES else tuple("abcde"))
    assert f"class names: those under 'meta.{key}'" in source.notes


def test_placeholders_and_too_few_names_are_none(net: nn.Module, tmp_path: Path) -> None:
    for labels in ({number: f"LABEL_{number}" for number in range(5)}, {0: "a", 1: "b"}):
        source = load(saved(tmp_path / "c.pth", {"state_dict": net.state_dict(), "id2label": labels}))
        assert source.checkpoint.class_names == ()


def test_inspect_says_where_the_network_is(net: nn.Module, tmp_path: Path) -> None:
    text = "\n".join(inspect(saved(tmp_path / "c.pth", WITHOUT["MoCo v2"](net))).lines())
    assert "prefix:   'module.encoder_q.' before the names of the network" in text
    assert "`prefix='module.encoder_k.'` selects it" in text
    text = "\n".join(inspect(saved(tmp_path / "c.pth", WITH_HEAD["averaged"](net))).lines())
    assert "averages of the trained weights" in text
    assert "left out: n_averaged" in text
    text = "\n".join(inspect(saved(tmp_path / "c.pth", WITH_HEAD["dropout before the head"](net))).lines())
    assert "head:     'fc.1'" in text
