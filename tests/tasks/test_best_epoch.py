from __future__ import annotations

import math

from resnets.tasks.best_epoch import Monitor, best_row, is_better, score

MONITORS = (Monitor("accuracy_top1", "max"), Monitor("loss", "min"))


def of(accuracy: float, loss: float) -> tuple[float, ...]:
    return score({"accuracy_top1": accuracy, "loss": loss, "other": 7.0}, MONITORS)


def test_the_first_metric_decides_then_the_second_then_the_earlier_epoch() -> None:
    assert is_better(of(0.6, 2.0), of(0.5, 1.0))
    assert is_better(of(0.5, 0.9), of(0.5, 1.0))
    assert not is_better(of(0.5, 1.0), of(0.5, 1.0))
    assert is_better(of(0.0, 9.0), None)


def test_a_metric_of_which_less_is_better() -> None:
    monitors = (Monitor("error", "min"),)
    assert is_better(score({"error": 0.1}, monitors), score({"error": 0.2}, monitors))
    rows = [{"val/error": value} for value in (3.0, 1.0, 2.0, 1.0)]
    assert best_row(rows, monitors) is rows[1]


def test_the_best_row_is_that_of_the_epoch_that_the_rule_selects() -> None:
    rows = [
        {"epoch": epoch, "val/accuracy_top1": accuracy, "val/loss": loss}
        for epoch, (accuracy, loss) in enumerate([(0.5, 1.0), (0.7, math.nan), (0.7, 1.1), (0.7, 1.1), (None, 0.1)])
    ]
    assert best_row(rows, MONITORS) is rows[2]
    assert best_row(rows[:2], MONITORS) is rows[1]
    assert best_row(rows[4:], MONITORS) is None
    assert best_row([{"epoch": 0, "val/accuracy_top1": math.nan, "val/loss": 1.0}], MONITORS) is None


def test_an_epoch_without_a_number_is_worse_than_any_other() -> None:
    assert is_better(of(0.0, 9.0), of(math.nan, 1.0))
    assert is_better(of(0.5, 9.0), of(0.5, math.nan))
