"""Curves are made of the steps that all seeds have."""

from __future__ import annotations

from tests.studies import known_trainings

from resnets.studies.comparisons import degradation
from resnets.studies.trainings import training_curves
from resnets.studies.trainings.training import EPOCH_ERROR, TEST_ERROR


def test_a_table_has_a_row_for_each_seed() -> None:
    known = known_trainings.setup(
        degradation.STUDY, known_trainings.TINY, range(2), lambda _, seed, step: 10.0 * step + seed
    )
    rows = training_curves.rows_of(known, ["plain-20", "plain-32"])
    steps, values = training_curves.table(rows, "plain-32", EPOCH_ERROR)
    assert (steps, values.tolist()) == ([2, 4], [[20, 40], [21, 41]])
    steps, values = training_curves.table(rows, "plain-32", TEST_ERROR)
    assert (steps, values.tolist()) == ([4], [[40], [41]])
    without = [row for row in rows if (row["seed"], row["step"]) != (1, 2)]
    assert training_curves.table(without, "plain-32", EPOCH_ERROR)[0] == [4]
    assert training_curves.table(rows, "residual-20", EPOCH_ERROR)[1].shape == (0, 0)
