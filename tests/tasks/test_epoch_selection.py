from __future__ import annotations

import math

from resnets.tasks.epoch_selection import WORST_SCORE, best_row, is_better, score


def test_accuracy_decides_then_the_loss_then_the_earlier_epoch() -> None:
    assert is_better(score(0.6, 2.0), score(0.5, 1.0))
    assert is_better(score(0.5, 0.9), score(0.5, 1.0))
    assert not is_better(score(0.5, 1.0), score(0.5, 1.0))
    assert is_better(score(0.0, 9.0), WORST_SCORE)


def test_the_best_row_is_that_of_the_epoch_that_the_rule_selects() -> None:
    rows = [
        {"epoch": epoch, "val/accuracy_top1": accuracy, "val/loss": loss}
        for epoch, (accuracy, loss) in enumerate([(0.5, 1.0), (0.7, math.nan), (0.7, 1.1), (0.7, 1.1), (None, 0.1)])
    ]
    assert best_row(rows) is rows[2]
    assert best_row(rows[:2]) is rows[1]
    assert best_row(rows[4:]) is None
