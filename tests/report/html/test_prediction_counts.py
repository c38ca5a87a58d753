"""What a predictions table adds up to."""

from __future__ import annotations

import math

from resnets.report.html import prediction_counts


def row(true: str, predicted: str, probability: float, loss: float = 1.0, path: str = "a.jpg") -> dict[str, str]:
    return {"path": path, "true": true, "predicted": predicted, "probability": str(probability), "loss": str(loss)}


ROWS = [
    row("ant", "ant", 0.995, 0.1, "1"),
    row("ant", "bee", 0.92, 3.0, "2"),
    row("bee", "bee", 0.85, 0.2, "3"),
    row("bee", "cat", 0.45, 0.9, "4"),
    {"path": "5", "true": "", "predicted": "ant", "probability": "0.7", "loss": ""},
]


def test_counts():
    counted = prediction_counts.count(ROWS)
    assert (counted.total, counted.right, counted.unlabeled) == (4, 2, 1)
    assert math.isclose(counted.sure, (0.995 + 0.92 + 0.85 + 0.45) / 4)
    assert counted.commonest == ("ant", 2)
    assert [one.path for one in counted.worst(2)] == ["2", "4"]


def test_matrix_keeps_the_order_given():
    names, matrix = prediction_counts.count(ROWS).matrix(["bee", "ant"])
    assert names == ["bee", "ant", "cat"]
    assert matrix.toarray().tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_thresholds():
    assert [(each.least, each.share, each.right) for each in prediction_counts.count(ROWS).thresholds()] == [
        (0.5, 0.75, 2 / 3),
        (0.8, 0.75, 2 / 3),
        (0.9, 0.5, 0.5),
        (0.95, 0.25, 1.0),
        (0.99, 0.25, 1.0),
    ]


def test_nothing():
    empty = prediction_counts.count([])
    assert (empty.total, empty.right, empty.commonest, empty.thresholds()) == (0, 0, None, [])
    assert math.isnan(empty.sure)
    assert prediction_counts.count([{"unknown": "columns"}]).unlabeled == 1
