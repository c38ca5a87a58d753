"""The paired bootstrap of two models' scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from resnets.tasks.comparison import Exposure, compare_scores


def test_the_difference_is_the_mean_over_the_images() -> None:
    a, b = np.array([0.0, 1.0, 0.5, 0.5]), np.array([1.0, 1.0, 0.5, 0.25])
    found = compare_scores(a, b, np.arange(4))
    assert (found.difference, found.count) == (pytest.approx(0.1875), 4)
    turned = compare_scores(b, a, np.arange(4))
    assert turned.difference == -found.difference
    assert turned.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_a_constant_difference_has_an_interval_of_no_width() -> None:
    found = compare_scores(np.zeros(10), np.full(10, 0.25), np.arange(10))
    assert found.interval == pytest.approx((0.25, 0.25))
    assert found.better == "b"
    assert found.in_words("old", "new").startswith(
        "new is better than old: mean score of new minus that of old +0.25 ["
    )
    worse = compare_scores(np.full(10, 0.25), np.zeros(10), np.arange(10))
    assert worse.better == "a"
    assert worse.in_words("old", "new").startswith("old is better than new: ")


def test_equal_models_do_not_differ() -> None:
    random = np.random.default_rng(0)
    scores = random.random(50)
    same = compare_scores(scores, scores, np.arange(50))
    assert (same.difference, same.interval, same.better) == (0.0, (0.0, 0.0), None)
    covered = 0
    for _ in range(100):  # two models that are equally good: a 95 % interval holds 0 about 95 times
        found = compare_scores(random.random(60), random.random(60), np.arange(60))
        covered += found.interval[0] <= 0 <= found.interval[1]
    assert covered >= 88


def test_the_interval_is_that_of_the_normal_approximation_where_images_are_many() -> None:
    gaps = np.random.default_rng(1).normal(0.1, 1.0, 2000)
    found = compare_scores(np.zeros(2000), gaps, np.arange(2000))
    half = 1.96 * gaps.std() / np.sqrt(2000)
    assert found.interval == pytest.approx((gaps.mean() - half, gaps.mean() + half), abs=0.01)


def test_copies_count_as_one_image() -> None:
    """With each image four times the interval is that of the single images, not half as wide."""
    gaps = np.random.default_rng(2).normal(0, 1, 200)
    single = compare_scores(np.zeros(200), gaps, np.arange(200))
    copies = compare_scores(np.zeros(800), np.repeat(gaps, 4), np.repeat(np.arange(200), 4))
    assert copies.difference == pytest.approx(single.difference)
    assert copies.interval == pytest.approx(single.interval)
    independent = compare_scores(np.zeros(800), np.repeat(gaps, 4), np.arange(800))
    assert np.diff(independent.interval) < 0.6 * np.diff(copies.interval)


def test_images_that_a_model_has_seen_decide_nothing() -> None:
    found = compare_scores(np.zeros(10), np.ones(10), np.arange(10), Exposure(None), Exposure(0, 4))
    assert (found.better, found.in_sample) == (None, True)
    words = found.in_words("old", "new")
    assert words.startswith(
        "This does not show which is better: mean score of new minus that of old +1 [1, 1] on 10 images"
    )
    assert "whether old was trained on some of these images is not known" in words
    assert "new was trained on none of these images, and 4 were used to select its epoch" in words
    assert compare_scores(np.zeros(10), np.ones(10), np.arange(10), Exposure(None)).better == "b"


def test_images_that_selected_both_models_are_no_new_images() -> None:
    found = compare_scores(np.zeros(10), np.ones(10), np.arange(10), Exposure(0, 10), Exposure(0, 10))
    assert found.better is None
    assert found.in_words("old", "new") == (
        "mean score of new minus that of old +1 [1, 1] on 10 images. Each of these images was used to select the epochs of both "
        "old and new: which is better on new images is shown by images that neither has seen."
    )


def test_json() -> None:
    found = compare_scores(np.zeros(3), np.ones(3), np.arange(3), Exposure(None)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["exposure_a"] == {"trained_on": None, "selected_on": 0}
    assert (found["better"], found["count"], found["in_sample"]) == ("b", 3, False)
    assert found["statement"].startswith("b is better than a: ")
