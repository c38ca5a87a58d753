"""Statistics of a table of predictions."""

from __future__ import annotations

import math

from resnets.report.html import prediction_stats


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
    stats = prediction_stats.from_rows(ROWS)
    assert (stats.total, stats.num_correct, stats.unlabeled) == (4, 2, 1)
    assert math.isclose(stats.mean_confidence, (0.995 + 0.92 + 0.85 + 0.45) / 4)
    assert stats.most_common_class == ("ant", 2)
    assert [one.path for one in stats.top_losses(2)] == ["2", "4"]


def test_matrix_keeps_the_order_given():
    names, matrix = prediction_stats.from_rows(ROWS).confusion_matrix(["bee", "ant"])
    assert names == ["bee", "ant", "cat"]
    assert matrix.toarray().tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_thresholds():
    assert [
        (each.confidence, each.fraction, each.accuracy) for each in prediction_stats.from_rows(ROWS).thresholds()
    ] == [
        (0.5, 0.75, 2 / 3),
        (0.8, 0.75, 2 / 3),
        (0.9, 0.5, 0.5),
        (0.95, 0.25, 1.0),
        (0.99, 0.25, 1.0),
    ]


def test_nothing():
    empty = prediction_stats.from_rows([])
    assert (empty.total, empty.num_correct, empty.most_common_class, empty.thresholds()) == (0, 0, None, [])
    assert math.isnan(empty.mean_confidence)
    assert prediction_stats.from_rows([{"unknown": "columns"}]).unlabeled == 1
