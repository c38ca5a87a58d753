"""Verdicts: what decides, the intervals against scipy's, and how often they are wrong where there is no effect."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resnets.errors import UserError
from resnets.studies import verdict
from resnets.studies.verdict import Interval, Rule, difference_interval, judge, mean_interval

RULE = Rule("greater", 0.0, smallest_effect=1.0, least_count=3)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.1, 0.3, "shown"),
        (0.1, 9.0, "shown"),
        (-0.3, -0.1, "opposite"),
        (-0.3, 0.9, "not shown"),
        (-0.3, 1.0, "undecided"),
        (0.0, 2.0, "undecided"),
    ],
)
def test_the_interval_decides(low: float, high: float, word: str) -> None:
    assert judge(Interval((low + high) / 2, low, high, 5), RULE, 0.05).word == word
    mirrored = Rule("less", 7.0, smallest_effect=1.0, least_count=3)
    assert judge(Interval(7 - (low + high) / 2, 7 - high, 7 - low, 5), mirrored, 0.05).word == word


def test_a_failed_control_and_too_few_values_leave_it_undecided() -> None:
    clear = Interval(2.0, 1.9, 2.1, 5)
    assert judge(clear, RULE, 0.05, "control failed: x").reason == "control failed: x"
    assert judge(clear._replace(num_values=2), RULE, 0.05).word == "undecided"
    for values in ([], [1.0], [1.0, np.nan, 2.0]):
        found = judge(mean_interval(np.array(values), 0.05), RULE, 0.05)
        assert (found.word, found.reason) == ("undecided", f"{len(values)} values give no interval")


def test_the_intervals_are_those_of_scipy() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(1, 2, 7), random.normal(0, 5, 19)
    for alpha in (0.05, 0.01):
        expected = stats.ttest_1samp(a, 0).confidence_interval(1 - alpha)
        assert mean_interval(a, alpha)[1:3] == pytest.approx(tuple(expected))
        expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(1 - alpha)
        assert difference_interval(a, b, alpha)[1:3] == pytest.approx(tuple(expected))


def words_of_looks(effect: float, random: np.random.Generator) -> set[str]:
    """The verdicts of a study that is extended from 3 to 5 to 8 seeds."""
    values = random.normal(effect, 1, 8)
    return {
        judge(mean_interval(values[:n], verdict.alpha_of(n)), RULE, verdict.alpha_of(n)).word for n in verdict.LOOKS
    }


def test_without_an_effect_at_most_5_percent_of_extended_studies_are_wrong() -> None:
    random = np.random.default_rng(1)
    wrong = [bool(words_of_looks(0.0, random) & {"shown", "opposite"}) for _ in range(1000)]
    assert 0.01 < np.mean(wrong) <= 0.05


def test_without_an_effect_at_most_5_percent_of_studies_of_images_and_layers_are_wrong() -> None:
    random = np.random.default_rng(2)
    for make in (
        lambda: mean_interval(random.choice([-100.0, 0.0, 100.0], 200, p=[0.05, 0.9, 0.05]), 0.05),
        lambda: difference_interval(random.normal(0, 1, 19), random.normal(0, 4, 55), 0.05),
    ):
        words = [judge(make(), Rule("greater", 0.0, 1.0, 3), 0.05).word for _ in range(1000)]
        assert words.count("shown") <= 50
        assert 30 < words.count("shown") + words.count("opposite") <= 64  # 50 are expected, with a standard error of 7


def test_large_effects_are_found_in_their_direction() -> None:
    random = np.random.default_rng(3)
    assert [words_of_looks(9.0, random) <= {"shown", "undecided"} for _ in range(50)] == [True] * 50
    assert np.mean(["opposite" in words_of_looks(-4.0, random) for _ in range(50)]) > 0.9


def test_the_looks_spend_5_percent() -> None:
    assert sum(verdict.LOOKS.values()) == pytest.approx(verdict.ALPHA)
    with pytest.raises(UserError, match=r"`seeds` is 3, 5 or 8.*received 4"):
        verdict.alpha_of(4)
