"""Confusion matrix (`confusion_matrix.png`), readable with 3, 100 and 1,000 classes.

A row is a true class, a column a predicted class. Colors show fractions of the row: right predictions are blue, wrong ones
red. With up to 20 classes each cell has its numbers; with more, the pairs most often confused and the classes with the lowest
recall are listed beside the matrix; above 150 a mistake is a dot, since a cell would be too small to see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from resnets.report import confused_classes
from resnets.report.figures import canvas
from resnets.report.figures.canvas import Canvas, Frame

MAX_CLASSES_WITH_NUMBERS = 20
MAX_CLASSES_WITH_CELLS = 150
_SIDE = 1000  # pixels of a matrix without numbers
_TOP = 150
_MARGIN = 40
_LIST_WIDTH = 660
_LIST_STEP = 34
_LIST_SIZE = 18
_LABEL_STEP = 22  # pixels from one label to the next, at least
_MIN_FRACTION = 0.04  # of the color of a dot, so that each dot is visible
_MAX_LABEL = 280  # pixels of a class name at the edge


@dataclass(frozen=True)
class _Layout:
    """Positions and sizes in pixels."""

    class_names: tuple[str, ...]
    totals: np.ndarray  # images of each class
    cell: float
    every: int  # each class of which the index is a multiple of it has a label
    size: int  # font size of the labels
    row_label: float
    column_label: float
    flat: bool  # column labels fit side by side without rotation

    @property
    def side(self) -> int:
        return round(self.cell * len(self.class_names))

    @property
    def frame(self) -> Frame:
        return Frame(_MARGIN + 30 + self.row_label, _TOP, self.side, self.side)

    @property
    def labeled(self) -> range:
        return range(0, len(self.class_names), self.every)

    @property
    def has_lists(self) -> bool:
        return len(self.class_names) > MAX_CLASSES_WITH_NUMBERS

    @property
    def width(self) -> int:
        beside = _LIST_WIDTH + _MARGIN if self.has_lists else 0
        return max(round(self.frame.left + self.side + _MARGIN + beside), 980)

    @property
    def height(self) -> int:
        return max(round(_TOP + self.side + self.column_label + 70), 640 if self.has_lists else 0)


def draw(matrix: np.ndarray | csr_array, class_names: Sequence[str], out: str | Path) -> Path:
    """Draw a matrix of counts.

    Args:
        matrix: whole numbers (K, K), dense or sparse, row = true class, column = predicted class.
        class_names: of the K classes.
        out: the image file; its size grows with K up to about 2,000 x 1,500 pixels.
    """
    matrix = csr_array(matrix, dtype=np.int64)
    layout = _make_layout(matrix.sum(axis=1), class_names)
    page = Canvas(layout.width, layout.height)
    _heading(page, matrix, layout)
    cells = _cells(matrix.toarray(), layout) if len(class_names) <= MAX_CLASSES_WITH_CELLS else _dots(matrix, layout)
    page.image(layout.frame.left, layout.frame.top, cells)
    if len(class_names) <= MAX_CLASSES_WITH_NUMBERS:
        _numbers(page, matrix.toarray(), layout)
    _labels(page, layout)
    if layout.has_lists:
        _lists(page, matrix, layout)
    return page.save(out)


def _make_layout(totals: np.ndarray, class_names: Sequence[str]) -> _Layout:
    count = len(class_names)
    if count <= MAX_CLASSES_WITH_NUMBERS:
        cell = float(max(58, min(150, 960 // count)))
    else:
        cell = float(_SIDE // count) if count <= MAX_CLASSES_WITH_CELLS else _SIDE / count
    size = 20 if count <= 10 else 18
    every = 1 if count <= MAX_CLASSES_WITH_NUMBERS else math.ceil(_LABEL_STEP / cell)
    names = [class_names[k] for k in range(0, count, every)]
    rows = [_with_total(class_names[k], totals[k]) for k in range(0, count, every)]
    wide = canvas.widest(names, size, _MAX_LABEL)
    flat = wide < cell - 10
    column_label = 30 if flat else wide + 16
    row_label = canvas.widest(rows, size, _MAX_LABEL) + 14
    return _Layout(tuple(class_names), totals, cell, every, size, row_label, column_label, flat)


def _with_total(name: str, total: int) -> str:
    return f"{name} ({total:,})"


def _heading(page: Canvas, matrix: csr_array, layout: _Layout) -> None:
    max_width = layout.width - 2 * _MARGIN
    right, total = int(matrix.diagonal().sum()), int(matrix.sum())
    title = f"{right:,} of {total:,} images right" if total else "No labeled images"
    page.text(_MARGIN, 36, title, size=26, bold=True, max_width=max_width)
    top = confused_classes.most_confused_pairs(matrix, limit=1)
    if top and top[0].num_images > 1:
        true, predicted = (_short(layout.class_names[k]) for k in top[0][:2])
        line = f"Most often confused: {true}, predicted as {predicted} ({top[0].num_images:,} of {top[0].total:,})"
        page.text(_MARGIN, 74, line, size=18, color=canvas.MUTED, max_width=max_width)
    x, y = layout.frame.left, _TOP - 30
    for color, words in ((canvas.RIGHT, "right"), (canvas.WRONG, "wrong")):
        for step in range(6):
            page.fill(Frame(x + 22 * step, y - 9, 22, 18), _hex(_tint(color, np.array(step / 5))))
        page.text(x + 140, y, words, size=17, color=color, bold=True)
        x += 230
    page.text(x, y, "fraction of the row, 0 to 100 %", size=17, color=canvas.MUTED)


def _short(name: str) -> str:
    return canvas.shortened(canvas.font_fallback.drawable(name), 18, _MAX_LABEL, keep="middle")


def _hex(color: np.ndarray) -> str:
    from matplotlib.colors import to_hex

    return to_hex(tuple(color / 255))


def _tint(color: str, fraction: np.ndarray) -> np.ndarray:
    """From white at 0 to `color` at 1; float (..., 3). The square root makes a fraction of 1 % visible."""
    strength = np.sqrt(fraction)[..., None]
    return 255 * (1 - strength) + canvas.rgb(color) * strength


def _fractions(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def _colors(matrix: np.ndarray) -> np.ndarray:
    """The color of each cell, float (K, K, 3); a row without images is gray."""
    fractions = _fractions(matrix)
    colors = _tint(canvas.WRONG, fractions)
    diagonal = np.arange(len(matrix))
    colors[diagonal, diagonal] = _tint(canvas.RIGHT, fractions[diagonal, diagonal])
    colors[matrix.sum(axis=1) == 0] = canvas.rgb(canvas.LIGHT)
    return colors


def _cells(matrix: np.ndarray, layout: _Layout) -> np.ndarray:
    """The matrix as pixels: a square for each cell, with thin lines between large ones."""
    cell = int(layout.cell)
    pixels = _colors(matrix).repeat(cell, axis=0).repeat(cell, axis=1).round().astype(np.uint8)
    if cell >= 6:
        color = canvas.rgb(canvas.GRID if cell >= 20 else canvas.LIGHT)
        lines = np.arange(0, layout.side, cell)
        pixels[lines] = pixels[:, lines] = color.astype(np.uint8)
    return _framed(pixels)


def _framed(pixels: np.ndarray) -> np.ndarray:
    edge = canvas.rgb(canvas.MUTED).astype(np.uint8)
    pixels[[0, -1]] = pixels[:, [0, -1]] = edge
    return pixels


def _dots(matrix: csr_array, layout: _Layout) -> np.ndarray:
    """The matrix as pixels where a cell is about one pixel: each mistake is a dot whose size grows with its count."""
    side = layout.side
    pixels = np.full((side, side, 3), 255, np.uint8)
    lines = [int((k + 0.5) * layout.cell) for k in layout.labeled]
    pixels[lines] = pixels[:, lines] = canvas.rgb(canvas.LIGHT).astype(np.uint8)
    cells = matrix.tocoo()
    true, predicted = cells.coords
    wrong = (true != predicted) & (cells.data > 0)
    positions, counts = np.stack([true[wrong], predicted[wrong]], axis=1), cells.data[wrong]
    fractions = np.maximum(counts / layout.totals[true[wrong]], _MIN_FRACTION)
    radius = np.rint(1 + 2.5 * (counts - 1) / max(1, counts.max(initial=1))).astype(int)
    # Where dots overlap the worse one is shown: the larger fraction of a mistake, the smaller one of right predictions.
    strength = np.zeros((side, side))
    for size in np.unique(radius):
        _draw_dots(strength, np.maximum, positions[radius == size], int(size), fractions[radius == size], layout.cell)
    pixels[strength > 0] = _tint(canvas.WRONG, strength[strength > 0]).round().astype(np.uint8)
    strength = np.full((side, side), 2.0)
    present = np.flatnonzero(layout.totals)
    recalls = np.maximum(matrix.diagonal()[present] / layout.totals[present], _MIN_FRACTION)
    _draw_dots(strength, np.minimum, np.stack([present, present], axis=1), 2, recalls, layout.cell)
    pixels[strength <= 1] = _tint(canvas.RIGHT, strength[strength <= 1]).round().astype(np.uint8)
    return _framed(pixels)


def _draw_dots(
    strength: np.ndarray, combine: np.ufunc, cells: np.ndarray, radius: int, fractions: np.ndarray, cell: float
) -> None:
    """Combine the fractions (N,) of the `cells` (N, 2) with `strength` at every pixel around them."""
    rows, columns = np.rint((cells.T + 0.5) * cell).astype(int)
    last = len(strength) - 1
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            pixels = np.clip(rows + dy, 0, last), np.clip(columns + dx, 0, last)
            combine.at(strength, pixels, fractions)


def _numbers(page: Canvas, matrix: np.ndarray, layout: _Layout) -> None:
    """Write into each cell its fraction of the row and its count; a zero stays blank."""
    fractions, colors = _fractions(matrix), _colors(matrix)
    size = min(24.0, layout.cell / 3.6)
    for true, predicted in np.argwhere(matrix > 0):
        x = layout.frame.left + (predicted + 0.5) * layout.cell
        y = layout.frame.top + (true + 0.5) * layout.cell
        color = canvas.readable_on(_hex(colors[true, predicted]))
        page.text(
            x,
            y - 0.55 * size,
            _percent(fractions[true, predicted]),
            size=size,
            align="center",
            color=color,
            bold=true == predicted,
        )
        page.text(x, y + 0.75 * size, f"{matrix[true, predicted]:,}", size=0.75 * size, align="center", color=color)


def _percent(fraction: float) -> str:
    """A fraction in percent; 0 % and 100 % only where they are exact."""
    percent = 100 * fraction
    if 0 < percent < 1:
        return "<1 %"
    return ">99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def _labels(page: Canvas, layout: _Layout) -> None:
    frame, size = layout.frame, layout.size
    for k in layout.labeled:
        middle = (k + 0.5) * layout.cell
        name = _with_total(layout.class_names[k], layout.totals[k])
        page.text(
            frame.left - 10, frame.top + middle, name, size=size, align="right", max_width=_MAX_LABEL, keep="middle"
        )
        rotation = 0 if layout.flat else 90
        below = frame.top + frame.height + (20 if layout.flat else 10)
        page.text(
            frame.left + middle, below, layout.class_names[k], size=size, align="center" if layout.flat else "right",
            max_width=_MAX_LABEL, keep="middle", rotation=rotation,
        )  # fmt: skip
    page.text(
        _MARGIN, frame.top + frame.height / 2, "true (images)", size=18, color=canvas.MUTED, align="center", rotation=90
    )
    foot = frame.top + frame.height + layout.column_label + 28
    page.text(frame.left + frame.width / 2, foot, "predicted", size=18, color=canvas.MUTED, align="center")


def _lists(page: Canvas, matrix: csr_array, layout: _Layout) -> None:
    """List the pairs most often confused and the classes with the lowest recall."""
    left, y = layout.frame.left + layout.side + _MARGIN, _TOP - 30.0
    num_lines = int((layout.height - y - _MARGIN) // _LIST_STEP) - 4
    weakest = confused_classes.lowest_recall(matrix, limit=num_lines // 3)
    pairs = confused_classes.most_confused_pairs(matrix, limit=num_lines - len(weakest))
    page.text(left, y, "Most often confused" if pairs else "No confused pairs", size=20, bold=True)
    for pair in pairs:
        y += _LIST_STEP
        number = f"{pair.num_images:,} of {pair.total:,}"
        _entry(page, left, y, number, [layout.class_names[pair.true], layout.class_names[pair.predicted]])
    if weakest:
        y += 2 * _LIST_STEP
        page.text(left, y, "Lowest recall", size=20, bold=True)
    for row in weakest:
        y += _LIST_STEP
        _entry(page, left, y, f"{row.num_correct:,} of {row.total:,}", [layout.class_names[row.true]])


def _entry(page: Canvas, left: float, y: float, number: str, names: Sequence[str]) -> None:
    """One line of a list: a count, then one name, or two with an arrow between them."""
    page.text(left + 124, y, number, size=_LIST_SIZE, color=canvas.WRONG, align="right", bold=True)
    x, max_width = left + 140, (_LIST_WIDTH - 140 - 40 * (len(names) - 1)) / len(names)
    for index, name in enumerate(names):
        if index:
            page.text(x + 20, y, "→", size=_LIST_SIZE, color=canvas.MUTED, align="center")
            x += 40
        line = canvas.shortened(canvas.font_fallback.drawable(name), _LIST_SIZE, max_width, keep="middle")
        page.text(x, y, line, size=_LIST_SIZE)
        x += canvas.text_width(line, _LIST_SIZE)
