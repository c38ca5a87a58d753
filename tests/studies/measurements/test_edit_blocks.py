"""Deleted blocks against networks whose branch gives zero by its weights, which a deletion must equal."""

from __future__ import annotations

import copy

import pytest
import torch
from tests import narrow_networks
from torch import nn

from resnets.models import shortcuts, zoo
from resnets.models.blocks import HighwayBlock, PlainBlock
from resnets.models.resnet import ResNet
from resnets.models.variants.block_variants import GatedBlock
from resnets.studies.measurements import edit_blocks

NAMES = (
    "resnet18",
    "resnet50_v1",
    "resnet34_a",
    "cifar_resnet20",
    "cifar_preresnet110",
    "cifar_highway20",
    "cifar_plain20",
)
NETWORKS = [(name, {}) for name in NAMES] + [
    ("cifar_resnet20", {"block": block}) for block in ("scaled", "gated", "gated_shortcut", "act_before", "act_only")
]


def zeroed(net: ResNet, name: str) -> ResNet:
    """A copy in which the branch of a block gives zero by its weights, and the gate of a highway block is closed."""
    net = copy.deepcopy(net)
    block = net.get_submodule(name)
    if isinstance(block, HighwayBlock) or type(block) is GatedBlock:
        nn.init.constant_(block.gate.bias, -1e9)  # type: ignore[arg-type]
        nn.init.zeros_(block.gate.weight)
        return net
    layer = [each for each in block.branch.modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d)][-1]  # type: ignore[union-attr]
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return net


@pytest.mark.parametrize(("name", "changes"), NETWORKS)
@torch.no_grad()
def test_a_deleted_block_is_one_whose_branch_gives_zero(name: str, changes: dict[str, str]) -> None:
    net, images = narrow_networks.network(name, **changes), narrow_networks.images((33, 35))
    blocks = edit_blocks.deletable(net)
    variants = {"": edit_blocks.without(net, ())} | {each: edit_blocks.without(net, [each]) for each in blocks}
    found = dict(edit_blocks.logits_of(net, images, variants))
    assert found.pop("").equal(net(images))
    assert list(found) == list(blocks)
    for block_name, logits in found.items():
        assert not logits.equal(net(images))
        if not isinstance(blocks[block_name][0], PlainBlock):
            torch.testing.assert_close(logits, zeroed(net, block_name)(images), rtol=0, atol=1e-12)
            times_zero = edit_blocks.with_branch_times_zero(blocks[block_name][0])
            variant = [times_zero if each is blocks[block_name][0] else each for each in edit_blocks.without(net, ())]
            ((_, of_product),) = edit_blocks.logits_of(net, images, {0: variant})
            assert of_product.equal(logits)
    # The network itself is as it was.
    assert net.state_dict().keys() == narrow_networks.network(name, **changes).state_dict().keys()


@torch.no_grad()
def test_a_plain_block_is_passed_by() -> None:
    net, images = narrow_networks.network("cifar_plain20"), narrow_networks.images((33, 35))
    blocks = edit_blocks.deletable(net)
    assert {name: keeps_shape for name, (_, keeps_shape) in blocks.items()} == {"stage1.block1": True}
    expected = net.forward_head(net.stage3(net.stage2(net.stem(images))))
    ((_, logits),) = edit_blocks.logits_of(net, images, {0: edit_blocks.without(net, ["stage1.block1"])})
    assert logits.equal(expected)


@torch.no_grad()
def test_a_plain_block_with_a_shortcut_is_a_residual_block() -> None:
    plain = narrow_networks.network("cifar_plain20")
    residual = narrow_networks.network("cifar_resnet20")
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    shortcut = shortcuts.ZeroPad(8, 12, 2)
    block = edit_blocks.with_shortcut(plain.stage2.block1, shortcut)
    assert block(x).equal(residual.stage2.block1(x))


@pytest.mark.parametrize(
    ("name", "changes", "plain", "residual"),
    [
        ("cifar_plain20", {}, True, False),
        ("cifar_resnet20", {}, False, True),
        ("cifar_preresnet110", {}, False, True),
        ("cifar_resnet20", {"block": "scaled"}, False, True),
        ("cifar_resnet20", {"block": "gated"}, False, False),
        ("cifar_highway20", {}, False, False),
        ("cifar_fast", {}, False, False),  # both kinds of blocks
    ],
)
def test_plain_and_residual_networks_are_told_apart(
    name: str, changes: dict[str, str], plain: bool, residual: bool
) -> None:
    net = zoo.build(name, **changes)
    assert (edit_blocks.is_plain(net), edit_blocks.is_residual(net)) == (plain, residual)
