"""The confusion matrix: what is taken for what (`confusion_matrix.png`), readable at 3, at 100 and at 1,000 classes.

A row is a true class, a column what was predicted. Colors show shares of the row: blue what is right, red what is
wrong. Up to 20 classes each cell holds its numbers; with more, the pairs most often confused and the classes most often
missed stand beside the matrix by name; beyond 150 a mistake is a dot, since a cell would be smaller than can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from resnets.report.figures import canvas, confused_pairs
from resnets.report.figures.canvas import Frame, Sheet

NUMBERS_UP_TO = 20
CELLS_UP_TO = 150
_SIDE = 1000  # pixels of a matrix without numbers
_TOP = 150
_MARGIN = 40
_LIST_WIDTH = 660
_LIST_STEP = 34
_LIST_SIZE = 18
_LABEL_STEP = 22  # pixels from one label to the next, at least
_PALEST = 0.04  # the share of a dot's color at least: no dot is paler than can be seen
_MOST_LABEL = 280  # pixels of a class name at the edge


@dataclass(frozen=True)
class _Plan:
    """Where things stand on the sheet, in pixels."""

    classes: tuple[str, ...]
    totals: np.ndarray  # images of each class
    cell: float
    every: int  # one class in so many has a label
    size: int  # of the labels' letters
    row_label: float
    column_label: float
    flat: bool  # column labels fit side by side and need not be turned

    @property
    def side(self) -> int:
        return round(self.cell * len(self.classes))

    @property
    def frame(self) -> Frame:
        return Frame(_MARGIN + 30 + self.row_label, _TOP, self.side, self.side)

    @property
    def labeled(self) -> range:
        return range(0, len(self.classes), self.every)

    @property
    def has_lists(self) -> bool:
        return len(self.classes) > NUMBERS_UP_TO

    @property
    def width(self) -> int:
        beside = _LIST_WIDTH + _MARGIN if self.has_lists else 0
        return max(round(self.frame.left + self.side + _MARGIN + beside), 980)

    @property
    def height(self) -> int:
        return max(round(_TOP + self.side + self.column_label + 70), 640 if self.has_lists else 0)


def draw(matrix: np.ndarray | csr_array, classes: Sequence[str], out: str | Path) -> Path:
    """Draw a matrix of counts.

    Args:
        matrix: whole numbers (K, K), dense or sparse, row = true class, column = predicted class.
        classes: the K names.
        out: where the image goes; it grows with K up to about 2,000 x 1,500 pixels.
    """
    matrix = csr_array(matrix, dtype=np.int64)
    plan = _plan(matrix.sum(axis=1), classes)
    page = Sheet(plan.width, plan.height)
    _heading(page, matrix, plan)
    cells = _cells(matrix.toarray(), plan) if len(classes) <= CELLS_UP_TO else _dots(matrix, plan)
    page.image(plan.frame.left, plan.frame.top, cells)
    if len(classes) <= NUMBERS_UP_TO:
        _numbers(page, matrix.toarray(), plan)
    _labels(page, plan)
    if plan.has_lists:
        _lists(page, matrix, plan)
    return page.save(out)


def _plan(totals: np.ndarray, classes: Sequence[str]) -> _Plan:
    count = len(classes)
    if count <= NUMBERS_UP_TO:
        cell = float(max(58, min(150, 960 // count)))
    else:
        cell = float(_SIDE // count) if count <= CELLS_UP_TO else _SIDE / count
    size = 20 if count <= 10 else 18
    every = 1 if count <= NUMBERS_UP_TO else math.ceil(_LABEL_STEP / cell)
    names = [classes[k] for k in range(0, count, every)]
    rows = [_with_total(classes[k], totals[k]) for k in range(0, count, every)]
    wide = canvas.widest(names, size, _MOST_LABEL)
    flat = wide < cell - 10
    column_label = 30 if flat else wide + 16
    row_label = canvas.widest(rows, size, _MOST_LABEL) + 14
    return _Plan(tuple(classes), totals, cell, every, size, row_label, column_label, flat)


def _with_total(name: str, total: int) -> str:
    return f"{name} ({total:,})"


def _heading(page: Sheet, matrix: csr_array, plan: _Plan) -> None:
    room = plan.width - 2 * _MARGIN
    right, total = int(matrix.diagonal().sum()), int(matrix.sum())
    title = f"{right:,} of {total:,} images right" if total else "No labeled images"
    page.text(_MARGIN, 36, title, size=26, bold=True, room=room)
    worst = confused_pairs.confused(matrix, most=1)
    if worst and worst[0].number > 1:
        true, predicted = (_short(plan.classes[k]) for k in worst[0][:2])
        line = f"Most often confused: {true}, taken for {predicted} ({worst[0].number:,} of {worst[0].total:,})"
        page.text(_MARGIN, 74, line, size=18, color=canvas.QUIET, room=room)
    x, y = plan.frame.left, _TOP - 30
    for color, words in ((canvas.RIGHT, "right"), (canvas.WRONG, "wrong")):
        for step in range(6):
            page.fill(Frame(x + 22 * step, y - 9, 22, 18), _hex(_tint(color, np.array(step / 5))))
        page.text(x + 140, y, words, size=17, color=color, bold=True)
        x += 230
    page.text(x, y, "share of the row, 0 to 100 %", size=17, color=canvas.QUIET)


def _short(name: str) -> str:
    return canvas.shortened(canvas.font_fallback.drawable(name), 18, _MOST_LABEL, keep="middle")


def _hex(color: np.ndarray) -> str:
    from matplotlib.colors import to_hex

    return to_hex(tuple(color / 255))


def _tint(color: str, share: np.ndarray) -> np.ndarray:
    """From white at 0 to `color` at 1; float (..., 3). The root shows that a share of 1 % is not 0."""
    strength = np.sqrt(share)[..., None]
    return 255 * (1 - strength) + canvas.rgb(color) * strength


def _shares(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _colors(matrix: np.ndarray) -> np.ndarray:
    """The color of each cell, float (K, K, 3); a row without images is gray."""
    shares = _shares(matrix)
    colors = _tint(canvas.WRONG, shares)
    own = np.arange(len(matrix))
    colors[own, own] = _tint(canvas.RIGHT, shares[own, own])
    colors[matrix.sum(axis=1) == 0] = canvas.rgb(canvas.SHADE)
    return colors


def _cells(matrix: np.ndarray, plan: _Plan) -> np.ndarray:
    """The matrix as pixels: a square for each cell, with a thin line between two where there is room for it."""
    cell = int(plan.cell)
    pixels = _colors(matrix).repeat(cell, axis=0).repeat(cell, axis=1).round().astype(np.uint8)
    if cell >= 6:
        color = canvas.rgb(canvas.RULE if cell >= 20 else canvas.SHADE)
        lines = np.arange(0, plan.side, cell)
        pixels[lines] = pixels[:, lines] = color.astype(np.uint8)
    return _framed(pixels)


def _framed(pixels: np.ndarray) -> np.ndarray:
    edge = canvas.rgb(canvas.QUIET).astype(np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = edge
    return pixels


def _dots(matrix: csr_array, plan: _Plan) -> np.ndarray:
    """The matrix as pixels when a cell is about one: each mistake a dot that grows with its count."""
    side = plan.side
    pixels = np.full((side, side, 3), 255, np.uint8)
    lines = [int((k + 0.5) * plan.cell) for k in plan.labeled]
    pixels[lines] = pixels[:, lines] = canvas.rgb(canvas.SHADE).astype(np.uint8)
    cells = matrix.tocoo()
    true, predicted = cells.coords
    wrong = (true != predicted) & (cells.data > 0)
    places, counts = np.stack([true[wrong], predicted[wrong]], axis=1), cells.data[wrong]
    shares = np.maximum(counts / plan.totals[true[wrong]], _PALEST)
    reach = np.rint(1 + 2.5 * (counts - 1) / max(1, counts.max(initial=1))).astype(int)
    # Where dots overlap the worse one is seen: the larger share of a mistake, the smaller one of what is right.
    strength = np.zeros((side, side))
    for size in np.unique(reach):
        _dot(strength, np.maximum, places[reach == size], int(size), shares[reach == size], plan.cell)
    pixels[strength > 0] = _tint(canvas.WRONG, strength[strength > 0]).round().astype(np.uint8)
    strength = np.full((side, side), 2.0)
    own = np.flatnonzero(plan.totals)
    right = np.maximum(matrix.diagonal()[own] / plan.totals[own], _PALEST)
    _dot(strength, np.minimum, np.stack([own, own], axis=1), 2, right, plan.cell)
    pixels[strength <= 1] = _tint(canvas.RIGHT, strength[strength <= 1]).round().astype(np.uint8)
    return _framed(pixels)


def _dot(strength: np.ndarray, meet: np.ufunc, cells: np.ndarray, reach: int, shares: np.ndarray, cell: float) -> None:
    """Give every pixel around each of the `cells` (N, 2) its share (N,), as it `meet`s what is there."""
    rows, columns = np.rint((cells.T + 0.5) * cell).astype(int)
    last = len(strength) - 1
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            places = np.clip(rows + dy, 0, last), np.clip(columns + dx, 0, last)
            meet.at(strength, places, shares)


def _numbers(page: Sheet, matrix: np.ndarray, plan: _Plan) -> None:
    """Write into each cell its share of the row and its count; a zero stays blank."""
    shares, colors = _shares(matrix), _colors(matrix)
    size = min(24.0, plan.cell / 3.6)
    for true, predicted in np.argwhere(matrix > 0):
        x = plan.frame.left + (predicted + 0.5) * plan.cell
        y = plan.frame.top + (true + 0.5) * plan.cell
        ink = canvas.readable_on(_hex(colors[true, predicted]))
        page.text(
            x,
            y - 0.55 * size,
            _percent(shares[true, predicted]),
            size=size,
            align="center",
            color=ink,
            bold=true == predicted,
        )
        page.text(x, y + 0.75 * size, f"{matrix[true, predicted]:,}", size=0.75 * size, align="center", color=ink)


def _percent(share: float) -> str:
    """A share in per cent; what is not quite all or nothing is not written as if it were."""
    percent = 100 * share
    if 0 < percent < 1:
        return "<1 %"
    return ">99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def _labels(page: Sheet, plan: _Plan) -> None:
    frame, size = plan.frame, plan.size
    for k in plan.labeled:
        middle = (k + 0.5) * plan.cell
        name = _with_total(plan.classes[k], plan.totals[k])
        page.text(frame.left - 10, frame.top + middle, name, size=size, align="right", room=_MOST_LABEL, keep="middle")
        turned = 0 if plan.flat else 90
        below = frame.top + frame.height + (20 if plan.flat else 10)
        page.text(
            frame.left + middle, below, plan.classes[k], size=size, align="center" if plan.flat else "right",
            room=_MOST_LABEL, keep="middle", turned=turned,
        )  # fmt: skip
    page.text(
        _MARGIN, frame.top + frame.height / 2, "true (images)", size=18, color=canvas.QUIET, align="center", turned=90
    )
    foot = frame.top + frame.height + plan.column_label + 28
    page.text(frame.left + frame.width / 2, foot, "predicted", size=18, color=canvas.QUIET, align="center")


def _lists(page: Sheet, matrix: csr_array, plan: _Plan) -> None:
    """Name the pairs most often confused and the classes most often missed."""
    left, y = plan.frame.left + plan.side + _MARGIN, _TOP - 30.0
    places = int((plan.height - y - _MARGIN) // _LIST_STEP) - 4
    weakest = confused_pairs.missed(matrix, most=places // 3)
    pairs = confused_pairs.confused(matrix, most=places - len(weakest))
    page.text(left, y, "Most often confused" if pairs else "Nothing is confused", size=20, bold=True)
    for pair in pairs:
        y += _LIST_STEP
        number = f"{pair.number:,} of {pair.total:,}"
        _entry(page, left, y, number, [plan.classes[pair.true], plan.classes[pair.predicted]])
    if weakest:
        y += 2 * _LIST_STEP
        page.text(left, y, "Least often recognized", size=20, bold=True)
    for row in weakest:
        y += _LIST_STEP
        _entry(page, left, y, f"{row.right:,} of {row.total:,}", [plan.classes[row.true]])


def _entry(page: Sheet, left: float, y: float, number: str, names: Sequence[str]) -> None:
    """One line of a list: how many of how many, then one name or two with an arrow between."""
    page.text(left + 124, y, number, size=_LIST_SIZE, color=canvas.WRONG, align="right", bold=True)
    x, room = left + 140, (_LIST_WIDTH - 140 - 40 * (len(names) - 1)) / len(names)
    for place, name in enumerate(names):
        if place:
            page.text(x + 20, y, "→", size=_LIST_SIZE, color=canvas.QUIET, align="center")
            x += 40
        line = canvas.shortened(canvas.font_fallback.drawable(name), _LIST_SIZE, room, keep="middle")
        page.text(x, y, line, size=_LIST_SIZE)
        x += canvas.text_width(line, _LIST_SIZE)
