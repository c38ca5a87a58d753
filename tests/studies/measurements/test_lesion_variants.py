"""Which blocks are deleted and swapped, and Kendall's tau by its definition."""

from __future__ import annotations

from itertools import combinations

import torch
from tests import narrow_networks
from tests.studies import known_images

from resnets.models import zoo
from resnets.models.build_network import build
from resnets.studies.measurements import edit_blocks, lesion_variants
from resnets.studies.measurements.lesion_variants import DELETED, DRAWS, REORDERED


@torch.no_grad()
def test_several_blocks_are_deleted_and_swapped() -> None:
    changes = {
        "num_blocks": (3, 1, 2, 3),
        "stem_channels": 8,
        "out_channels": (8, 12, 16, 20),
        "mid_channels": (4,) * 4,
    }
    net = build(zoo.get_spec("resnet50_v1", num_classes=5, **changes)).double().eval()  # type: ignore[arg-type]
    images = narrow_networks.images((33, 35))
    blocks = edit_blocks.named_blocks(net)
    kept = [name for name, (_, keeps_shape) in edit_blocks.deletable(net).items() if keeps_shape]
    found = lesion_variants.several(net)
    assert [each.count for each in found if each.kind == DELETED] == [
        k for k in range(1, len(kept) + 1) for _ in range(DRAWS)
    ]
    for each in found:
        names = each.names.split("+") if each.names else []
        if each.kind == DELETED:
            assert len(names) == each.count
            assert set(names) <= set(kept)
            x = net.stem(images)
            for name, block in blocks.items():
                x = block.act(block.shortcut(x)) if name in names else block(x)  # type: ignore[operator]
            ((_, logits),) = edit_blocks.logits_of(net, images, {0: each.blocks})
            torch.testing.assert_close(logits, net.forward_head(x), rtol=0, atol=1e-12)
        else:
            assert each.kind == REORDERED
            order = [list(blocks.values()).index(block) for block in each.blocks]  # type: ignore[arg-type]
            stages = [name.split(".")[0] for name in blocks]
            assert sorted(order) == list(range(len(blocks)))
            assert [stages[index] for index in order] == stages
            pairs = list(combinations(order, 2))
            assert abs(each.tau - sum(1 if a < b else -1 for a, b in pairs) / len(pairs)) < 1e-12
            assert [name for name, index in zip(blocks, order, strict=True) if list(blocks)[index] != name] == names
    assert min(each.tau for each in found) < 1


def test_the_draws_are_those_of_every_call() -> None:
    net = known_images.load(known_images.checkpoint_file())[0][0].net
    one, other = ([(each.names, each.tau) for each in lesion_variants.several(net)] for _ in range(2))
    assert one == other


def test_a_network_with_one_block_a_stage_is_not_reordered() -> None:
    net = narrow_networks.network("cifar_resnet20")
    assert {each.kind for each in lesion_variants.several(net)} == {DELETED}
