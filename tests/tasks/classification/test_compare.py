"""Two models on the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from resnets.errors import UserError
from resnets.tasks.classification.compare import SIGNIFICANCE, AccuracyComparison, compare_predictions
from resnets.tasks.classification.confidence_intervals import paired_difference
from resnets.tasks.classification.prediction_set import Predictions
from resnets.tasks.comparison import Exposure


def answering(right: np.ndarray) -> Predictions:
    """A model of two classes that has these images right and the others wrong."""
    true = np.arange(len(right)) % 2
    predicted = np.where(right, true, 1 - true)
    logits = np.where(predicted[:, None] == np.arange(2), 2.0, 0.0).astype(np.float32)
    return Predictions(tuple(map(str, range(len(right)))), true, logits, ("cat", "dog"))


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[Predictions, Predictions]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return answering(a), answering(b)


def test_the_images_are_counted_in_pairs() -> None:
    found = compare_predictions(*pair(70, 5, 18, 7))
    assert (found.both, found.only_a, found.only_b, found.neither) == (70, 5, 18, 7)
    assert found.difference == pytest.approx(0.13)
    assert found.p == pytest.approx(2 * binom.cdf(5, 23, 0.5))  # McNemar's exact test, two-sided
    assert found.interval[0] < 0.13 < found.interval[1]
    assert found.to_dict()["count"] == 100


def test_the_result_in_words() -> None:
    better = compare_predictions(*pair(70, 5, 18, 7)).in_words("old", "new")
    assert better.startswith("new is better than old by 13.0 points [")
    assert "p = 0.011" in better
    assert "only new is right on 18 images and only old on 5, of 100" in better
    worse = compare_predictions(*pair(70, 18, 5, 7)).in_words("old", "new")
    assert worse.startswith("old is better than new by 13.0 points [")
    assert better.split("[")[1].split("]")[0] == worse.split("[")[1].split("]")[0]
    assert (
        compare_predictions(*pair(70, 9, 12, 9))
        .in_words()
        .startswith("No difference between A and B was shown: top-1 of B minus top-1 of A is +3.0 points")
    )


def test_the_statement_and_the_interval_agree_on_every_small_table() -> None:
    for discordant in range(1, 21):
        for only_a in range(discordant + 1):
            only_b = discordant - only_a
            shown = binomtest(only_b, discordant).pvalue < SIGNIFICANCE
            for agreed in range(21 - discordant):
                for both in range(agreed + 1):
                    low, high = paired_difference(both, only_a, only_b, agreed - both)
                    assert (low > 0 or high < 0) == shown, (both, only_a, only_b, agreed - both)
                    assert low <= (only_b - only_a) / (discordant + agreed) <= high


def test_they_agree_on_larger_tables() -> None:
    for both, neither in ((100, 5000), (5000, 100), (5000, 5000), (0, 5000), (500, 10)):
        for only_a in range(13):
            for only_b in (*range(only_a, only_a + 20), 60):
                shown = only_a + only_b > 0 and binomtest(only_b, only_a + only_b).pvalue < SIGNIFICANCE
                for table in ((both, only_a, only_b, neither), (both, only_b, only_a, neither)):
                    low, high = paired_difference(*table)
                    assert (low > 0 or high < 0) == shown, table
                    assert low <= (table[2] - table[1]) / sum(table) <= high, table


def test_few_images_show_no_difference_and_no_interval_without_0() -> None:
    words = compare_predictions(*pair(0, 0, 5, 0)).in_words()
    assert words.startswith("No difference")
    assert "[-4.4, 100.0], p = 0.062" in words


def test_an_end_of_the_interval_that_is_not_0_is_not_shown_as_0() -> None:
    found = AccuracyComparison(9000, 100, 140, 760, 0.004, (0.0003, 0.0077), 0.011)
    assert "[0.03, 0.8]" in found.in_words()


def test_images_that_favor_the_better_one_decide_nothing() -> None:
    images = pair(70, 5, 18, 7)
    assert compare_predictions(*images).better == "b"
    favored = compare_predictions(*images, exposure_b=Exposure(0, 40))
    assert favored.better is None
    assert favored.in_words("old", "new").startswith(
        "On these images, some of which were used to train or to select one of the models, new is right more often than old, "
        "by 13.0 points ["
    )
    assert "of 100): this does not show that it is better. Note: " in favored.in_words("old", "new")
    words = "old was trained on none of these images; new was trained on none of these images, and 40 were used to select its"
    assert words in favored.in_words("old", "new")
    assert compare_predictions(*images, Exposure(0, 40), Exposure(0, 40)).better is None  # of more epochs, perhaps
    words = compare_predictions(*images, Exposure(40)).in_words("old", "new")
    assert "one of the models, new is better than old by 13.0 points" in words
    assert "old was trained on 40 of these images; new was trained on none of these images." in words
    assert "Compare them on images that were used neither to train nor to select them" in words
    assert favored.to_dict()["better"] is None
    assert favored.to_dict()["in_sample"] is True
    assert compare_predictions(*images).to_dict()["in_sample"] is False
    assert favored.to_dict()["statement"] == favored.in_words("a", "b")


def test_equal_models_do_not_differ() -> None:
    found = compare_predictions(*pair(9, 0, 0, 1))
    assert (found.p, found.difference) == (1.0, 0.0)


def test_classes_may_be_in_another_order() -> None:
    a, b = pair(70, 5, 18, 7)
    turned = replace(b, true=1 - b.true, logits=b.logits[:, ::-1].copy(), class_names=("dog", "cat"))
    assert compare_predictions(a, turned) == compare_predictions(a, b)


def test_other_images_or_labels_cannot_be_compared() -> None:
    a, b = pair(3, 1, 1, 1)
    for other in (replace(b, paths=b.paths[::-1]), replace(b, true=1 - b.true)):
        with pytest.raises(UserError, match="same images"):
            compare_predictions(a, other)
    without = [replace(each, true=np.full(6, -1)) for each in (a, b)]
    with pytest.raises(UserError, match="there are none"):
        compare_predictions(*without)


def test_a_few_images_that_favor_the_better_one_leave_it_better() -> None:
    found = AccuracyComparison(40_000, 900, 1500, 7600, 600 / 50_000, (0.01, 0.014), 1e-9, exposure_b=Exposure(1))
    assert found.better == "b"
    assert "A was trained on none of these images; B was trained on 1 of these images" in found.in_words()
    assert replace(found, exposure_b=Exposure(500)).better == "b"  # 1000 of 1900: p = 0.02
    assert replace(found, exposure_b=Exposure(500, 20)).better is None
    turned = replace(found, only_a=1500, only_b=900, difference=-0.012, exposure_a=Exposure(520), exposure_b=Exposure())
    assert (turned.better, replace(turned, exposure_a=Exposure(1)).better) == (None, "a")


def test_what_is_not_known_is_not_counted_as_0() -> None:
    found = compare_predictions(*pair(70, 5, 18, 7), Exposure(None))
    assert found.better == "b"
    assert found.to_dict()["exposure_a"] == {"trained_on": None, "selected_on": 0}
    assert (
        "Note: whether old was trained on some of these images is not known; new was trained on none"
        in found.in_words("old", "new")
    )
    found = compare_predictions(*pair(70, 5, 18, 7), Exposure(None), Exposure(30, 10))
    assert found.better is None
    assert "new was trained on 30 of these images, and 10 were used to select its epoch" in found.in_words("old", "new")
