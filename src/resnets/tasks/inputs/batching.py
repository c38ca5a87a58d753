"""Images on their way to the network, and full batches of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import Tensor

from resnets.errors import UserError


class Prepared(NamedTuple):
    """An image on its way to the network.

    `inputs` holds for each classifier the views (C, h, w) that it gets; they are empty where `error` says why the image
    cannot be read.
    """

    name: str
    inputs: list[list[Tensor]]
    error: str | None = None


def chunks(prepared: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Runs with `size` readable images each, so that unreadable ones leave no batch half empty."""
    chunk: list[Prepared] = []
    readable = 0
    for entry in prepared:
        chunk.append(entry)
        readable += entry.error is None
        if readable == size or len(chunk) == 4 * size:
            yield chunk
            chunk, readable = [], 0
    if chunk:
        yield chunk


def check_sizes(batch: int, workers: int | None) -> None:
    """Raises UserError for a batch without images, or a number of threads below 0."""
    if batch < 1:
        raise UserError(f"`batch` must be 1 or more; received {batch}.")
    if workers is not None and workers < 0:
        raise UserError(f"`workers` must be 0 or more; received {workers}.")
