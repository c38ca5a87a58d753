"""The logits of a large image from overlapping windows of it, which are blended where they overlap.

Windows are computed row by row. Rows of the decoder's map that no later window touches are given away, so that the memory grows
with the width of the image and not with its area.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 32  # pixels: corners of windows lie on the grid of the deepest map of a backbone
OVERLAP = 1 / 3
BATCH = 4  # windows that go through the network together


class WindowSpan(NamedTuple):
    """Part of a side, in pixels."""

    start: int
    end: int


def window_spans(length: int, window: int) -> list[WindowSpan]:
    """Overlapping parts of a side of `length` pixels, none longer than `window`, which is at least 64 and is rounded down to a
    multiple of 32; they begin at multiples of 32, evenly spaced.
    """
    window = max(window // ALIGNMENT, 2) * ALIGNMENT
    if length <= window:
        return [WindowSpan(0, length)]
    last = math.ceil((length - window) / ALIGNMENT)
    step = max(int(window * (1 - OVERLAP)) // ALIGNMENT, 1)
    count = math.ceil(last / step)
    starts = [round(index * last / count) * ALIGNMENT for index in range(count + 1)]
    return [WindowSpan(start, min(start + window, length)) for start in starts]


def blend_windows(
    dense: Callable[[Tensor], Tensor],
    read: Callable[[WindowSpan, WindowSpan], Tensor],
    rows: list[WindowSpan],
    columns: list[WindowSpan],
) -> Iterator[Tensor]:
    """The logits of an image, (K, m, w) of consecutive rows of the decoder's map, in float32.

    Args:
        dense: images (n, C, H, W) -> logits (n, K, H / stride, W / stride), rounded up.
        read: the part of the normalized image, (C, height, width).
        rows, columns: of `window_spans`, of which the columns may have any order.
    """
    total: Tensor | None = (
        None  # (K + 1, m, w) in float64: weighted logits and, last, weights of the rows from `top` on
    )
    top = stride = 0
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        for column, logits in _computed(dense, read, row, columns):
            if len(rows) == len(columns) == 1:
                yield logits.float()
                return
            if not stride:  # of a whole window, whose side the stride divides
                axis, first = (1, row) if len(rows) > 1 else (2, column)
                stride = (first.end - first.start) // logits.shape[axis]
            height, width = (math.ceil(max(each.end for each in side) / stride) for side in (rows, columns))
            expected = [math.ceil((side.end - side.start) / stride) for side in (row, column)]
            assert list(logits.shape[1:]) == expected, (logits.shape, row, column, stride)
            y, x = row.start // stride - top, column.start // stride
            if total is None:
                total = logits.new_zeros((len(logits) + 1, 0, width), dtype=torch.float64)
            if missing := min(y + logits.shape[1], height - top) - total.shape[1]:
                total = torch.cat([total, total.new_zeros(len(total), max(missing, 0), width)], dim=1)
            weights = _hann(logits.shape[1])[:, None] * _hann(logits.shape[2])
            part = total[:, y : y + logits.shape[1], x : x + logits.shape[2]]
            part += torch.cat([logits * weights, weights[None]])
        assert total is not None
        done = total.shape[1] if following is None else following.start // stride - top
        yield (total[:-1, :done] / total[-1, :done]).float()
        total, top = total[:, done:], top + done


def _computed(
    dense: Callable[[Tensor], Tensor],
    read: Callable[[WindowSpan, WindowSpan], Tensor],
    row: WindowSpan,
    columns: list[WindowSpan],
) -> Iterator[tuple[WindowSpan, Tensor]]:
    """The logits (K, h, w) of each window of a row; windows of one width go through the network together."""
    for start in range(0, len(columns), BATCH):
        chosen = columns[start : start + BATCH]
        for width in dict.fromkeys(end - begin for begin, end in chosen):
            same = [each for each in chosen if each.end - each.start == width]
            yield from zip(same, dense(torch.stack([read(row, each) for each in same])).cpu(), strict=True)


def _hann(length: int) -> Tensor:
    """float64 (length,): a window that is above 0 everywhere, and falls towards the ends."""
    return torch.sin(math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length) ** 2
