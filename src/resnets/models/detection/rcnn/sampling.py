"""The random choice of anchors and regions for the losses."""

from collections.abc import Sequence

import torch
from torch import Tensor


def generators(seeds: Sequence[int] | None, count: int, *, training: bool) -> list[torch.Generator]:
    """One generator for each image, so that the choice does not depend on the batch.

    Without seeds they are drawn from torch's generator if `training`, and are 0 otherwise.
    """
    if seeds is None:
        seeds = torch.randint(1 << 62, (count,)).tolist() if training else [0] * count
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def sample(labels: Tensor, count: int, positive_fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of positives (labels > 0) and of negatives (labels == 0), `count` together if there are as many.

    The positives are at most `count * positive_fraction`; negatives take the place of those that are missing (Ren et al.
    2015, section 3.1.3). Other labels are ignored.
    """
    positive, negative = torch.where(labels > 0)[0], torch.where(labels == 0)[0]
    positive = _choose(positive, int(count * positive_fraction), generator)
    return positive, _choose(negative, count - len(positive), generator)


def _choose(index: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return index[torch.randperm(len(index), generator=generator)[:count].to(index.device)]
