"""New blocks and their size, against networks that are run by hand."""

from __future__ import annotations

import pytest
import torch
from tests import narrow_networks
from tests.studies import known_images

from resnets.errors import UserError
from resnets.studies.measurements import edit_blocks, inserted_blocks


@torch.no_grad()
def test_a_new_block_is_in_the_middle_of_each_stage() -> None:
    (network,), images = known_images.load(known_images.checkpoint_file())
    net, names = inserted_blocks.insert(network.net, 0, with_shortcut=True)
    assert names == ["stage1.block2", "stage2.block2", "stage3.block2"]
    blocks, old = edit_blocks.named_blocks(net), edit_blocks.named_blocks(network.net)
    assert len(blocks) == len(old) + 3
    inputs = images.stacked(known_images.PREPROCESS)[:4]
    for name in names:
        norm = blocks[name].branch.norm2  # type: ignore[union-attr]
        assert norm.weight.eq(1).all()  # type: ignore[union-attr, operator]
        assert norm.running_var.eq(1).all()  # type: ignore[union-attr, operator]
    # Without what is new the network is the trained one.
    ((_, logits),) = edit_blocks.logits_of(net, inputs, {0: edit_blocks.without(net, names)})
    torch.testing.assert_close(logits, network.net(inputs))
    assert not net(inputs).allclose(logits)
    other, _ = inserted_blocks.insert(network.net, 1, with_shortcut=True)
    assert not other(inputs).equal(net(inputs))
    bare, _ = inserted_blocks.insert(network.net, 0, with_shortcut=False)
    x = bare.stem(inputs)
    block = bare.stage1.block2
    x = bare.stage1.block1(x)
    assert block(x).equal(block.act(block.branch(x)))
    with pytest.raises(UserError, match="No stage of the network"):
        inserted_blocks.insert(narrow_networks.network("cifar_plain20"), 0, with_shortcut=True)


@torch.no_grad()
def test_the_size_is_that_of_the_parts_run_by_hand() -> None:
    (network,), images = known_images.load(known_images.checkpoint_file(blocks=1))
    inputs, net = images.stacked(known_images.PREPROCESS)[:5], network.net
    found = inserted_blocks.branch_sizes(net, inputs)
    x = net.stem(inputs)
    for name, block in edit_blocks.named_blocks(net).items():
        ratios = [float(block.branch(each).norm() / block.shortcut(each).norm()) for each in x[:, None]]  # type: ignore[union-attr, operator]
        assert found[name] == pytest.approx(sum(ratios) / len(ratios), rel=1e-5)
        x = block(x)
    bare, _ = inserted_blocks.insert(
        known_images.load(known_images.checkpoint_file())[0][0].net, 0, with_shortcut=False
    )
    assert inserted_blocks.branch_sizes(bare, inputs)["stage1.block2"] == float("inf")
