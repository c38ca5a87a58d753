import numpy as np
import pytest

from resnets.tasks import bootstrap


def test_units_are_drawn_together() -> None:
    draws = bootstrap.resample(np.array([7, 3, 7, 1]), 50)

    assert (draws[:, 0] == draws[:, 2]).all()
    assert (draws[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_the_interval_holds_the_estimate_and_stays_a_fraction() -> None:
    values = np.append(np.linspace(0.5, 0.9, 101), np.nan)

    assert bootstrap.interval(values, 0.7) == pytest.approx([0.51, 0.89])
    assert bootstrap.interval(values, 0.95) == pytest.approx([0.51, 0.95])
    assert bootstrap.interval(values, 0.7, widening=10) == [0, 1]
    assert bootstrap.interval(np.full(5, 0.5), 0.5) is None
    assert bootstrap.interval(values, None) is None


def test_epochs_that_disagree_widen_an_interval() -> None:
    same = np.tile([0.0, 1, 1, 0], (5, 1))
    other = same.copy()
    other[0] = 1 - other[0]

    assert bootstrap.cross_fitted_widening(same) == pytest.approx((1 / 0.9) ** 0.5)
    assert bootstrap.cross_fitted_widening(other) > 1.2
