"""Batches of prepared images."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch import Tensor

from resnets.data.image.placement import Placement
from resnets.errors import UserError


class Prepared(NamedTuple):
    """An image that is ready for the network.

    `inputs` has, for each classifier, its views of the image as tensors (C, h, w). It is empty if the image cannot be read;
    `error` is then the reason. `placement` is that of a single view.
    """

    name: str
    inputs: list[list[Tensor]]
    error: str | None = None
    placement: Placement | None = None


def chunks(prepared: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Consecutive entries with `size` readable images each, so that an unreadable image leaves no batch incomplete."""
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


def check_options(batch: int, workers: int | None, on_bad: str = "error") -> None:
    """Raise UserError for a batch without images, a negative number of threads, or an unknown `on_bad`."""
    if batch < 1:
        raise UserError(f"`batch` must be 1 or more; received {batch}.")
    if workers is not None and workers < 0:
        raise UserError(f"`workers` must be 0 or more; received {workers}.")
    if on_bad not in ("error", "skip"):
        raise UserError(f"`on_bad` must be error or skip; received '{on_bad}'.")
