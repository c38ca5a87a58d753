"""Weights of another model: the backbone, and the rows of the head by the names of their classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.resnet import ResNet
from resnets.models.spec import ResNetSpec
from resnets.tasks.adapt import load_parent
from resnets.weights.checkpoint import Checkpoint

PARENT_NAMES = ("cat", "dog", "owl")


class WithNeck(nn.Module):
    """A model that is not a `ResNet`: a backbone, and a head with a row for each class and a neck."""

    def __init__(self, net: ResNet, num_classes: int) -> None:
        super().__init__()
        self.neck = nn.Linear(3, 3)
        self.score = nn.Linear(net.head.in_features, num_classes)
        self.backbone = net.backbone()


def parent_of(names: tuple[str, ...] = PARENT_NAMES, spec: ResNetSpec | None = None, **changes: Any) -> Checkpoint:
    torch.manual_seed(0)
    spec = replace(spec or zoo.get_spec("tiny"), num_classes=len(names))
    return Checkpoint(spec, Preprocess.imagenet(32), names, build(spec).state_dict(), **changes)


def on_meta(spec: ResNetSpec) -> nn.Module:
    with torch.device("meta"):
        return build(spec)


def adapted(
    names: tuple[str, ...], parent: Checkpoint, *, same_task: bool = True
) -> tuple[str, dict[str, Tensor], dict[str, Tensor]]:
    """What was said, the tensors after, and those before."""
    torch.manual_seed(1)
    net = build(replace(parent.spec, num_classes=len(names)))
    fresh = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    said = load_parent(net, parent, on_meta(parent.spec), names, same_task=same_task)
    tensors = net.state_dict()
    for name, tensor in tensors.items():
        if not name.startswith("head."):
            assert torch.equal(tensor, parent.tensors[name]), name
    return said, tensors, fresh


def rows(tensors: Any, *numbers: int) -> list[list[float]]:
    joined = torch.cat((tensors["head.fc.weight"], tensors["head.fc.bias"][:, None]), 1)
    return joined[list(numbers)].tolist()


def test_the_same_classes_keep_the_head() -> None:
    parent = parent_of()
    said, after, _ = adapted(PARENT_NAMES, parent)
    assert said == "the weights have the same classes: their head is kept"
    assert rows(after, 0, 1, 2) == rows(parent.tensors, 0, 1, 2)


def test_classes_in_another_order_keep_their_own_rows() -> None:
    parent = parent_of()
    said, after, _ = adapted(("owl", "cat", "dog"), parent)
    assert said == "the head keeps its rows of 3 of 3 classes: 'owl', 'cat', 'dog'"
    assert rows(after, 0, 1, 2) == rows(parent.tensors, 2, 0, 1)


def test_fewer_classes_keep_their_own_rows() -> None:
    parent = parent_of()
    said, after, _ = adapted(("dog",), parent)
    assert said == "the head keeps its rows of 1 of 1 classes: 'dog'"
    assert rows(after, 0) == rows(parent.tensors, 1)


def test_further_classes_have_new_rows() -> None:
    parent = parent_of()
    said, after, fresh = adapted(("bee", "cat", "owl", "yak"), parent)
    assert said == "the head keeps its rows of 2 of 4 classes: 'cat', 'owl'; new: 'bee', 'yak'"
    assert rows(after, 1, 2) == rows(parent.tensors, 0, 2)
    assert rows(after, 0, 3) == rows(fresh, 0, 3)


@pytest.mark.parametrize(
    ("names", "parent", "same_task", "shows"),
    [
        (("bee", "yak"), parent_of(), True, "new head for 2 classes: head.fc.weight, head.fc.bias"),
        (PARENT_NAMES, parent_of(task="boxes"), False, "; the weights are of the task boxes"),
        (PARENT_NAMES, replace(parent_of(), class_names=()), True, "; the weights have no class names, so their head"),
    ],
)
def test_a_head_of_something_else_is_new(
    names: tuple[str, ...], parent: Checkpoint, same_task: bool, shows: str
) -> None:
    said, after, fresh = adapted(names, parent, same_task=same_task)
    assert said.startswith(f"new head for {len(names)} classes: head.fc.weight, head.fc.bias")
    assert shows in said
    assert rows(after, 0, 1) == rows(fresh, 0, 1)


def test_the_hidden_layer_of_a_head_goes_with_its_rows_whatever_its_size() -> None:
    for units in (5, 3):  # 3 is the number of classes, too
        parent = parent_of(spec=replace(zoo.get_spec("tiny"), head_hidden_dim=units))
        _, after, _ = adapted(("owl", "cat", "dog"), parent)
        assert torch.equal(after["head.hidden.weight"], parent.tensors["head.hidden.weight"])
        assert torch.equal(after["head.hidden.bias"], parent.tensors["head.hidden.bias"])
        assert rows(after, 0, 1, 2) == rows(parent.tensors, 2, 0, 1)


def test_a_head_of_another_form_is_new() -> None:
    parent = parent_of(spec=replace(zoo.get_spec("tiny"), head_hidden_dim=5))
    torch.manual_seed(1)
    net = build(replace(zoo.get_spec("tiny"), num_classes=3))
    fresh = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    said = load_parent(net, parent, on_meta(parent.spec), PARENT_NAMES, same_task=True)
    assert said == "new head for 3 classes: head.fc.weight, head.fc.bias"
    assert rows(net.state_dict(), 0, 1, 2) == rows(fresh, 0, 1, 2)


def test_the_backbone_is_found_in_the_model_whatever_its_tensors_are_called() -> None:
    """From a classifier into a model with a neck, and from that into a classifier and into another one of its kind."""
    parent = parent_of()
    torch.manual_seed(2)
    model = WithNeck(build(replace(parent.spec, num_classes=2)), 4)
    said = load_parent(model, parent, on_meta(parent.spec), ("cat", "b", "c", "d"), same_task=False)
    assert (
        said
        == "new head for 4 classes: neck.weight, neck.bias, score.weight, score.bias; the weights are of the task classification"
    )
    backbone = {name: tensor for name, tensor in parent.tensors.items() if not name.startswith("head.")}
    found = model.backbone.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in backbone.items())

    with torch.device("meta"):
        model_on_meta = WithNeck(build(replace(parent.spec, num_classes=2)), 4)
    own = Checkpoint(parent.spec, parent.preprocess, ("cat", "b", "c", "d"), model.state_dict(), task="boxes")
    torch.manual_seed(3)
    net = build(replace(parent.spec, num_classes=2))
    assert "new head for 2 classes" in load_parent(net, own, model_on_meta, ("cat", "dog"), same_task=False)
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in backbone.items())

    # Which of its tensors have one row for each class is known to its task only.
    other = WithNeck(build(replace(parent.spec, num_classes=2)), 2)
    fresh = other.score.weight.detach().clone()
    assert load_parent(other, own, model_on_meta, ("d", "e"), same_task=True).startswith("new head for 2 classes")
    assert torch.equal(other.score.weight, fresh)


def test_a_model_without_classes_keeps_its_head() -> None:
    parent = parent_of(task="brightness")
    parent = replace(parent, class_names=())
    torch.manual_seed(1)
    net = build(parent.spec)
    assert load_parent(net, parent, on_meta(parent.spec), (), same_task=True) == "the head is kept"
    assert rows(net.state_dict(), 0, 1, 2) == rows(parent.tensors, 0, 1, 2)


def test_a_backbone_that_does_not_fit_is_not_loaded() -> None:
    parent = parent_of()
    for net, shows in (
        (
            zoo.build("cifar_resnet20", num_classes=7),
            r"The backbone of the checkpoint does not fit the network.* missing",
        ),
        (zoo.build("tiny", num_classes=7, in_channels=1), r"stem.*for \[\d+, 1, "),
    ):
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        with pytest.raises(UserError, match=shows):
            load_parent(net, parent, on_meta(parent.spec), tuple("abcdefg"), same_task=True)
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_tensor_that_is_missing_in_the_file_is_named() -> None:
    parent = parent_of()
    tensors = {name: tensor for name, tensor in parent.tensors.items() if name != "stem.conv.weight"}
    with pytest.raises(UserError, match=r"missing: stem\.conv\.weight"):
        adapted(PARENT_NAMES, replace(parent, tensors=tensors))
