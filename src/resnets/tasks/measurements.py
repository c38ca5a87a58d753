"""What an evaluation keeps of each example: rows in the order of the examples, from which all metrics are computed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

Rows = Tensor | list[Any]


@dataclass(frozen=True, eq=False)
class Measurements:
    """Measured values of N examples.

    Attributes:
        rows: by name, a tensor (N, ...) on the CPU, or a list of N values of any size, such as the boxes of each image.
            Every rank has those of its own examples; together they are in the order of the dataset, so that each example
            counts once on any number of ranks.
        sums: by name, a tensor that is summed over batches and ranks, for what is too large to be kept for each example. A
            task that has some cannot be evaluated on a part of the examples, so it has no cross-fitted headline.
    """

    rows: Mapping[str, Rows]
    sums: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.rows.items()}
        assert len(set(lengths.values())) <= 1, lengths

    def __len__(self) -> int:
        return len(next(iter(self.rows.values()), ()))

    def __getitem__(self, name: str) -> Any:
        return self.rows[name] if name in self.rows else self.sums[name]

    def select(self, indices: np.ndarray) -> Measurements:
        """The examples at `indices`, int64, or where a bool (N,) is true."""
        assert not self.sums, "sums do not belong to single examples"
        numbers = np.flatnonzero(indices) if indices.dtype == bool else indices
        chosen = torch.from_numpy(np.ascontiguousarray(numbers))
        return Measurements(
            {
                name: values[chosen] if isinstance(values, Tensor) else [values[i] for i in numbers]
                for name, values in self.rows.items()
            }
        )


def concatenate(batches: Sequence[Measurements]) -> Measurements:
    """The examples of all `batches`, in order, and the sums of their sums; at least one batch."""
    first = batches[0]
    rows: dict[str, Rows] = {}
    for name, values in first.rows.items():
        if isinstance(values, Tensor):
            rows[name] = torch.cat([batch.rows[name] for batch in batches])  # type: ignore[misc]
        else:
            rows[name] = [each for batch in batches for each in batch.rows[name]]
    return Measurements(
        rows, {name: torch.stack([batch.sums[name] for batch in batches]).sum(0) for name in first.sums}
    )


def concatenate_readable(parts: Sequence[Measurements], unread: Container[int], count: int) -> Measurements:
    """The measurements of `count` samples without those at the positions `unread`; if there are such ones, the row "index" has
    the positions of the others.
    """
    merged = concatenate(parts)
    index = torch.tensor([position for position in range(count) if position not in unread])
    return merged if len(index) == count else Measurements({**merged.rows, "index": index}, merged.sums)
