"""The figure of the confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest

from resnets.report.figures import canvas, confusion_matrix


def tint(color: str, fraction: float) -> str:
    """What a fraction of a row looks like: from white to the color by its root."""
    parts = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 * (1 - fraction**0.5) + part * fraction**0.5):02X}" for part in parts)


def test_cells_have_the_color_of_their_fraction_of_the_row(tmp_path, pixels, near):
    for right, wrong in ((9, 1), (5, 5)):
        matrix = np.array([[right, wrong, 0], [0, 40, 0], [0, 0, 0]])
        image = pixels(confusion_matrix.draw(matrix, ["ant", "bee", "cat"], tmp_path / "matrix.png"))
        cell = 150 * 150
        total = right + wrong
        assert near(image, tint(canvas.RIGHT, right / total), 1).sum() > 0.8 * cell
        assert near(image, tint(canvas.WRONG, wrong / total), 1).sum() > 0.8 * cell
        assert near(image, canvas.RIGHT, 1).sum() > 0.8 * cell
        assert near(image, canvas.LIGHT, 1).sum() > 2.5 * cell  # the row without images


def test_cells_contain_numbers(tmp_path, pixels):
    def inside(count: int) -> np.ndarray:
        path = confusion_matrix.draw(np.array([[count, 0], [0, 50]]), ["ant", "bee"], tmp_path / "matrix.png")
        image = pixels(path)
        blue = (image == [0x00, 0x77, 0xBB]).all(axis=-1)
        rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
        return image[rows[60] : rows[130], columns[10] : columns[140]]

    assert (inside(7) > 240).all(axis=-1).sum() > 50  # white letters on blue
    assert (inside(7) != inside(8)).any()


@pytest.mark.parametrize(
    ("count", "widest"),
    [(1, 1000), (2, 1000), (3, 1000), (10, 1500), (20, 1700), (21, 2200), (100, 2200), (1000, 2200)],
)
def test_sizes(tmp_path, pixels, count, widest):
    matrix = np.full((count, count), 1) + 20 * np.eye(count, dtype=int)
    names = [f"a rather long name of class number {k}" for k in range(count)]
    height, width, _ = pixels(confusion_matrix.draw(matrix, names, tmp_path / "matrix.png")).shape
    assert 400 <= height <= 1800
    assert 500 <= width <= widest


def test_one_mistake_among_a_thousand_classes_is_visible_at_its_position(tmp_path, pixels):
    matrix = 50 * np.eye(1000, dtype=int)
    names = [f"n{k}" for k in range(1000)]

    def drawn() -> np.ndarray:
        return pixels(confusion_matrix.draw(matrix, names, tmp_path / "matrix.png"))[150:1150]

    clean = drawn()
    left = np.flatnonzero((clean == [0x59, 0x63, 0x6E]).all(axis=-1).sum(axis=0) > 900)[0]  # the frame
    matrix[200, 200], matrix[200, 700] = 10, 40
    changed = (drawn() != clean).any(axis=-1)[:, left : left + 1000]
    rows, columns = np.nonzero(changed)
    assert rows.mean() == pytest.approx(200, abs=3)
    assert changed.sum() >= 9
    assert np.abs(columns - 700).min() <= 3
    assert np.abs(columns - 200).min() <= 5  # the class itself is paler now
    assert columns.min() > 190


def test_names_beside_a_large_matrix_follow_the_mistakes(tmp_path, pixels):
    names = [f"class {k}" for k in range(40)]
    matrix = 20 * np.eye(40, dtype=int)
    without = pixels(confusion_matrix.draw(matrix, names, tmp_path / "matrix.png"))
    matrix[3, 7] = 6
    with_one = pixels(confusion_matrix.draw(matrix, names, tmp_path / "matrix.png"))
    beside = slice(with_one.shape[1] - 660, None)
    red = (np.abs(with_one[:, beside] - [0xCC, 0x33, 0x11]) < 10).all(axis=-1)
    assert red.sum() > 100
    assert not (np.abs(without[:, beside] - [0xCC, 0x33, 0x11]) < 10).all(axis=-1).any()


def test_no_labeled_image_at_all(tmp_path):
    assert confusion_matrix.draw(np.zeros((3, 3), int), ["a", "b", "c"], tmp_path / "matrix.png").exists()


@pytest.mark.parametrize(
    ("fraction", "words"), [(0.0, "0 %"), (0.004, "<1 %"), (0.5, "50 %"), (0.996, ">99 %"), (1.0, "100 %")]
)
def test_only_exact_fractions_are_shown_as_0_or_100_percent(fraction, words):
    assert confusion_matrix._percent(fraction) == words
