"""Confusion matrix (`confusion_matrix.png`).

A row is a true class, a column a predicted class. Colors show fractions of the row: right predictions are blue, wrong ones
red. With up to 20 classes each cell has its numbers. Of more than 100 classes, the most confused ones are shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnets.report.confused_classes import most_confused_pairs
from resnets.report.figures import canvas, font_fallback
from resnets.report.number_formats import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from scipy.sparse import csr_array

MAX_CLASSES_WITH_NUMBERS = 20
MAX_CLASSES = 100
NUM_SELECTED = 50
_MAX_LABELS = 50
_LABEL_LETTERS = 24


def draw(matrix: csr_array, class_names: Sequence[str], out: Path, heading: str = "", unit: str = "images") -> Path:
    """Draw a matrix of counts.

    Args:
        matrix: sparse whole numbers (K, K), row = true class, column = predicted class.
        class_names: of the K classes.
        out: the image file.
        heading: a line at the top; "" for the number of right ones.
        unit: what is counted.
    """
    totals, right = matrix.sum(axis=1), matrix.diagonal()
    heading = heading or f"{right.sum():,} of {totals.sum():,} {unit} right"
    shown = np.arange(len(class_names))
    if len(shown) > MAX_CLASSES:
        shown = _most_confused(matrix)
        heading += f"; the {NUM_SELECTED} most confused of {len(class_names):,} classes"
    counts = matrix[shown][:, shown].toarray()
    fractions = counts / np.where(totals, totals, np.nan)[shown, None]
    side = max(600, min(1200, 110 * len(shown)))
    with canvas.figure(out, side + 350, side + 300, heading) as page:
        axes = page.subplots()
        _cells(axes, fractions)
        if len(shown) <= MAX_CLASSES_WITH_NUMBERS:
            _numbers(axes, counts, fractions)
        names = [font_fallback.shortened(class_names[k], _LABEL_LETTERS) for k in shown.tolist()]
        _labels(axes, names, totals[shown], unit)
    return out


def _most_confused(matrix: csr_array) -> np.ndarray:
    """The classes of the pairs most often confused, in the order of the classes."""
    pairs = most_confused_pairs(matrix, range(matrix.shape[0]), limit=NUM_SELECTED)
    chosen = dict.fromkeys([*(k for pair in pairs for k in pair[:2]), *range(matrix.shape[0])])
    return np.sort(list(chosen)[:NUM_SELECTED])


def _cells(axes: Axes, fractions: np.ndarray) -> None:
    """Draw the fractions (K, K) of each row as colors; a row without images is gray."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = LinearSegmentedColormap.from_list("wrong to right", [canvas.WRONG, "white", canvas.RIGHT])
    # The square root makes a fraction of 1 % visible.
    signed = np.sqrt(fractions) * np.where(np.eye(len(fractions)), 1, -1)
    axes.imshow(signed, cmap=colors.with_extremes(bad=canvas.LIGHT), vmin=-1, vmax=1)
    axes.grid(False)
    edges, ends = np.arange(len(fractions) + 1) - 0.5, (-0.5, len(fractions) - 0.5)
    axes.hlines(edges, *ends, canvas.GRID, linewidth=0.5)
    axes.vlines(edges, *ends, canvas.GRID, linewidth=0.5)
    axes.set_title("blue: right, red: wrong; as fractions of the row", color=canvas.MUTED, fontweight="normal")


def _numbers(axes: Axes, counts: np.ndarray, fractions: np.ndarray) -> None:
    """Write into each cell its fraction of the row and its count; a zero stays blank."""
    size = 13 if len(counts) <= 8 else 9 if len(counts) <= 12 else 7
    for true, predicted in np.argwhere(counts):
        fraction = fractions[true, predicted]
        color = "white" if fraction > 0.6 else canvas.TEXT
        text = f"{percent(fraction, 0)}\n{counts[true, predicted]:,}"
        axes.text(predicted, true, text, color=color, fontsize=size, ha="center", va="center")


def _labels(axes: Axes, names: Sequence[str], totals: np.ndarray, unit: str) -> None:
    every = math.ceil(len(names) / _MAX_LABELS)
    size = 10 if len(names) <= 30 else 8
    style: dict[str, Any] = {"fontfamily": font_fallback.families(), "fontsize": size, "color": canvas.TEXT}
    places = range(0, len(names), every)
    flat = max(map(len, names)) * len(names) <= 60
    axes.set_xticks(places, names[::every], rotation=0 if flat else 90, **style)
    axes.set_yticks(places, [f"{names[k]} ({totals[k]:,})" for k in places], **style)
    axes.set(xlabel="predicted", ylabel=f"true ({unit})")
