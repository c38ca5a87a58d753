"""The figure of the confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.in_soak import only_in_soak

from resnets.report.figures import canvas, confusion_matrix


def area(image: np.ndarray, color: str, fraction: float = 1.0) -> float:
    """The number of pixels of the color that a fraction of a row has: from white to `color` by its root."""
    full = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)])
    return (np.abs(image - (255 + (full - 255) * fraction**0.5)) <= 3).all(axis=-1).sum()


def test_cells_have_the_color_of_their_fraction_of_the_row(tmp_path, pixels):
    names = ["ant", "bee", "cat"]
    cell = None
    for right, wrong in ((9, 1), (6, 4)):
        matrix = csr_array(np.array([[right, wrong, 0], [0, 40, 0], [0, 0, 0]]))
        image = pixels(confusion_matrix.draw(matrix, names, tmp_path / "matrix.png"))
        cell = area(image, canvas.RIGHT)
        assert area(image, canvas.RIGHT, right / 10) == pytest.approx(cell, rel=0.1)
        assert area(image, canvas.WRONG, wrong / 10) == pytest.approx(cell, rel=0.1)
        assert (image == [0xF0, 0xF2, 0xF5]).all(axis=-1).sum() > 2.5 * cell  # the row without images


@pytest.mark.parametrize("count", [1, 20, pytest.param(100, marks=only_in_soak("2 s")), 1000])
def test_any_number_of_classes(tmp_path, pixels, count):
    matrix = csr_array(np.ones((count, count), int) + 20 * np.eye(count, dtype=int))
    names = [f"a rather long name of class number {k}" for k in range(count)]
    height, width, _ = pixels(confusion_matrix.draw(matrix, names, tmp_path / "matrix.png")).shape
    assert 600 <= height <= 1600
    assert 600 <= width <= 1600


def test_of_many_classes_the_confused_ones_are_shown():
    matrix = 50 * np.eye(1000, dtype=int)
    matrix[200, 700], matrix[999, 3] = 40, 1
    chosen = confusion_matrix._most_confused(csr_array(matrix))
    assert len(chosen) == confusion_matrix.NUM_SELECTED
    assert {200, 700, 999, 3} < set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()
