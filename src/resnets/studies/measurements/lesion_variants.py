"""Which blocks a lesion study deletes or swaps (Veit et al. 2016, sections 4.2 and 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from resnets.models.resnet import ResNet
from resnets.studies.measurements import edit_blocks

SINGLE, DELETED, REORDERED = "one deleted", "several deleted", "reordered"
DRAWS = 5  # of each number of blocks
MAX_COUNTS = 10  # numbers of blocks that are tried


@dataclass(frozen=True, eq=False)
class Variant:
    """A network with other blocks.

    Attributes:
        kind: SINGLE, DELETED or REORDERED.
        names: of the deleted blocks, or of those that are not at their place, joined with "+".
        count: number of deleted blocks, or of swaps.
        tau: Kendall's rank correlation of the order of the blocks with the trained one.
        blocks: the blocks in order.
    """

    kind: str
    names: str
    count: int
    tau: float
    blocks: Sequence[nn.Module]


def single(net: ResNet) -> list[Variant]:
    """Each block that can be deleted, alone."""
    return [Variant(SINGLE, name, 1, 1.0, edit_blocks.without(net, [name])) for name in edit_blocks.deletable(net)]


def several(net: ResNet) -> list[Variant]:
    """DRAWS times each number of blocks that keep the shape, drawn with a fixed seed; and as many swaps within stages."""
    from scipy.stats import kendalltau  # half a second of imports

    random = np.random.default_rng(0)
    names, blocks = list(edit_blocks.named_blocks(net)), list(edit_blocks.named_blocks(net).values())
    kept = [name for name, (_, keeps_shape) in edit_blocks.deletable(net).items() if keeps_shape]
    pairs = [
        (names.index(a), names.index(b)) for a in kept for b in kept if a < b and a.split(".")[0] == b.split(".")[0]
    ]
    found = []
    for count in np.unique(np.linspace(1, len(kept), min(len(kept), MAX_COUNTS)).round().astype(int)).tolist():
        for _ in range(DRAWS):
            chosen = sorted(random.choice(kept, count, replace=False).tolist(), key=names.index)
            found.append(Variant(DELETED, "+".join(chosen), count, 1.0, edit_blocks.without(net, chosen)))
        for _ in range(DRAWS if pairs else 0):
            order = list(range(len(names)))
            for pair in random.integers(0, len(pairs), count).tolist():
                a, b = pairs[pair]
                order[a], order[b] = order[b], order[a]
            moved = "+".join(name for name, index in zip(names, order, strict=True) if names[index] != name)
            tau = float(kendalltau(order, range(len(order))).statistic)
            found.append(Variant(REORDERED, moved, count, tau, [blocks[index] for index in order]))
    return found
