"""The intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import norm

from resnets.tasks.classification.confidence_intervals import design_effect, paired_difference, paired_score, wilson


def test_a_proportion_as_in_published_tables() -> None:
    """Newcombe, Statistics in Medicine 17, 857-872 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_the_design_effect_is_by_how_much_fewer_independent_images_there_are() -> None:
    random = np.random.default_rng(0)
    right, alone = random.random(200) < 0.8, np.arange(200)
    assert design_effect(right, alone) == 1.0
    assert design_effect(np.repeat(right, 5), np.repeat(alone, 5)) == pytest.approx(5.0)
    assert design_effect(np.ones(10, dtype=bool), np.arange(10) // 5) == 5.0
    assert design_effect(right, np.zeros(200, dtype=np.int64)) == 200.0
    assert design_effect(right, alone // 4) < 1.5  # of groups whose images have nothing in common


def test_the_interval_of_groups_contains_the_true_accuracy_95_times_in_100() -> None:
    """40 groups of 1 to 16 images, whose shares vary from group to group."""
    random, held, plain = np.random.default_rng(0), [], []
    for _ in range(1000):
        shares = random.beta(4, 1, 40)  # 0.8 on the average
        clusters = np.repeat(np.arange(40), random.integers(1, 17, 40))
        right = random.random(len(clusters)) < shares[clusters]
        effect = design_effect(right, clusters)
        for found, each in ((held, effect), (plain, 1.0)):
            low, high = wilson(right.sum() / each, len(right) / each)
            found.append(low <= 0.8 <= high)
    assert np.mean(plain) < 0.85
    assert 0.93 <= np.mean(held) <= 0.98


def test_nothing_counted_is_nothing_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert paired_difference(0, 0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize("proportion", [0.5, 0.9, 0.98])
def test_the_interval_contains_the_true_proportion_95_times_in_100(proportion: float) -> None:
    draws = np.random.default_rng(0).binomial(100, proportion, size=4000)
    intervals = {right: wilson(int(right), 100) for right in np.unique(draws)}
    covered = np.mean([intervals[right][0] <= proportion <= intervals[right][1] for right in draws])
    assert 0.93 <= covered <= 0.98


def test_with_many_images_the_paired_interval_is_the_textbook_one() -> None:
    """Difference and standard error of paired shares, sqrt(f + g - (f - g)^2 / n) / n, which holds for large n."""
    both, only_a, only_b, neither = 70_000, 5_000, 12_000, 13_000
    count = 100_000
    difference = (only_b - only_a) / count
    half = 1.959964 * np.sqrt(only_a + only_b - (only_b - only_a) ** 2 / count) / count
    low, high = paired_difference(both, only_a, only_b, neither)
    assert (low, high) == pytest.approx((difference - half, difference + half), rel=2e-3)


def test_exchanging_the_models_changes_the_sign() -> None:
    low, high = paired_difference(50, 3, 11, 6)
    assert paired_difference(50, 11, 3, 6) == pytest.approx((-high, -low))
    assert low < 8 / 70 < high


@pytest.mark.parametrize("cells", [(0.70, 0.05, 0.12, 0.13), (0.9, 0.02, 0.02, 0.06), (0.5, 0.0, 0.1, 0.4)])
def test_the_paired_interval_holds_the_true_difference_95_times_in_100(cells: tuple[float, ...]) -> None:
    draws = np.random.default_rng(1).multinomial(120, cells, size=1500)
    truth = cells[2] - cells[1]
    covered = np.mean([low <= truth <= high for low, high in (paired_difference(*map(int, draw)) for draw in draws)])
    assert 0.93 <= covered <= 0.998  # an exact test of the 5 images that differ leaves 0 out in 1 of 200 cases


def likeliest_statistic(only_a: int, only_b: int, count: int, difference: float) -> float:
    """The score statistic with the probabilities that maximize the likelihood, found by search and not by a formula."""

    def minus_log_likelihood(only_a_right: float) -> float:
        cells = (only_a_right, only_a_right + difference, 1 - 2 * only_a_right - difference)
        numbers = (only_a, only_b, count - only_a - only_b)
        return -sum(number * np.log(max(cell, 1e-300)) for number, cell in zip(numbers, cells, strict=True) if number)

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    searched = minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-13})
    best = min((bounds[0], searched.x), key=minus_log_likelihood)
    return (only_b - only_a - count * difference) / np.sqrt(count * (2 * best + difference - difference**2))


@pytest.mark.parametrize(
    ("only_a", "only_b", "count"),
    [(0, 0, 30), (1, 0, 44), (0, 3, 200), (9, 5, 734), (40, 21, 10_000), (100, 139, 10_000), (3, 7, 11)],
)
def test_the_score_interval_inverts_the_score_test(only_a: int, only_b: int, count: int) -> None:
    low, high = paired_score(only_a, only_b, count)
    estimate, quantile = (only_b - only_a) / count, norm.ppf(0.975)

    def end(sign: int) -> float:
        def rejected(difference: float) -> float:
            return likeliest_statistic(only_a, only_b, count, difference) + sign * quantile

        return brentq(rejected, *sorted((estimate + sign * 1e-9, sign * (1 - 1e-9))), xtol=1e-13)

    assert (low, high) == pytest.approx((end(-1), end(1)), abs=1e-7)
    assert low < estimate < high


def test_the_score_interval_of_models_that_agree_on_all_images() -> None:
    """Then it is Wilson's interval of no success: z^2 / (n + z^2)."""
    low, high = paired_score(0, 0, [1, 100, 764, 765])
    assert high == pytest.approx([wilson(0, count)[1] for count in (1, 100, 764, 765)])
    assert low == pytest.approx(-high)


def test_the_score_interval_of_exchanged_models_has_the_other_sign() -> None:
    low, high = paired_score(3, 11, 70)
    assert paired_score(11, 3, 70) == pytest.approx((-high, -low))
